using System.Buffers.Binary;
using System.Collections.Immutable;

namespace Broker.Domain;

/// <summary>
/// Who takes part in a group: voters, whose majority decides, and learners, which receive the log and do not count
/// (Raft thesis 4.2.1). It never changes; each membership change makes a new one, which holds from the moment it is in
/// a replica's log, committed or not (thesis 4.1).
/// </summary>
public sealed class GroupConfiguration : IEquatable<GroupConfiguration>
{
    /// <summary>Voters and learners together; two configurations fit into one slot of the vote file.</summary>
    public const int MaxMembers = 32;

    /// <summary>The bytes of the largest encoded configuration.</summary>
    public const int MaxEncodedBytes = HeaderBytes + (MaxMembers * sizeof(int));

    private const byte FormatVersion = 1;
    private const int HeaderBytes = 4;

    public GroupConfiguration(LogIndex index, IEnumerable<NodeId> voters, IEnumerable<NodeId> learners)
    {
        Index = index;
        Voters = [.. voters.OrderBy(static node => node.Value)];
        Learners = [.. learners.OrderBy(static node => node.Value)];
        var members = Voters.Concat(Learners).ToList();
        Invariant.Check(members.Count <= MaxMembers, "a group has at most 32 members");
        Invariant.Check(members.Distinct().Count() == members.Count, "a member has one part in its group");
        Invariant.Check(members.TrueForAll(static node => node.Value > 0), "a member has a number");
    }

    /// <summary>Nobody: what a replica knows that has lost its disk.</summary>
    public static GroupConfiguration None { get; } = new(LogIndex.None, [], []);

    /// <summary>The entry that brought it; 0 for the one that the group began with.</summary>
    public LogIndex Index { get; }

    /// <summary>In rising order.</summary>
    public ImmutableArray<NodeId> Voters { get; }

    /// <summary>In rising order.</summary>
    public ImmutableArray<NodeId> Learners { get; }

    /// <summary>
    /// Reads the body of an entry of kind Configuration; false when it is not one that this version understands.
    /// <code>
    /// 0 format 1   1 voters   2 learners   3 zero   4 the numbers of the voters, then of the learners, int32 each
    /// </code>
    /// Voters 1 and 3, learner 4: <c>01 02 01 00  01 00 00 00  03 00 00 00  04 00 00 00</c>.
    /// </summary>
    public static bool TryDecode(ReadOnlySpan<byte> body, LogIndex index, out GroupConfiguration configuration)
    {
        configuration = None;
        if (body.Length < HeaderBytes || body[0] != FormatVersion || body[3] != 0
            || body[1] + body[2] > MaxMembers
            || body.Length != HeaderBytes + ((body[1] + body[2]) * sizeof(int)))
        {
            return false;
        }

        var numbers = new int[body[1] + body[2]];
        for (var i = 0; i < numbers.Length; i++)
        {
            numbers[i] = BinaryPrimitives.ReadInt32LittleEndian(body[(HeaderBytes + (i * sizeof(int)))..]);
        }

        if (Array.Exists(numbers, static number => number <= 0) || numbers.Distinct().Count() != numbers.Length)
        {
            return false;
        }

        var nodes = numbers.Select(static number => new NodeId(number)).ToList();
        configuration = new GroupConfiguration(index, nodes.Take(body[1]), nodes.Skip(body[1]));
        return true;
    }

    /// <summary>The body of its log entry, see <see cref="TryDecode"/>. The index is that of the entry.</summary>
    public byte[] Encode()
    {
        var body = new byte[HeaderBytes + ((Voters.Length + Learners.Length) * sizeof(int))];
        body[0] = FormatVersion;
        body[1] = (byte)Voters.Length;
        body[2] = (byte)Learners.Length;
        var at = HeaderBytes;
        foreach (var node in Voters.Concat(Learners))
        {
            BinaryPrimitives.WriteInt32LittleEndian(body.AsSpan(at), node.Value);
            at += sizeof(int);
        }

        return body;
    }

    public bool IsVoter(NodeId node) => Voters.Contains(node);

    public bool IsLearner(NodeId node) => Learners.Contains(node);

    public bool Contains(NodeId node) => IsVoter(node) || IsLearner(node);

    /// <summary>The same members, brought by another entry.</summary>
    public GroupConfiguration At(LogIndex index) => new(index, Voters, Learners);

    public bool Equals(GroupConfiguration? other) =>
        other is not null && Index == other.Index
        && Voters.AsSpan().SequenceEqual(other.Voters.AsSpan())
        && Learners.AsSpan().SequenceEqual(other.Learners.AsSpan());

    public override bool Equals(object? obj) => Equals(obj as GroupConfiguration);

    public override int GetHashCode() => HashCode.Combine(Index, Voters.Length, Learners.Length);

    public override string ToString() =>
        $"{string.Join(' ', Voters)}" + (Learners.Length == 0 ? "" : $" learners {string.Join(' ', Learners)}")
        + $" at {Index}";
}
