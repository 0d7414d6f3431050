using System.Buffers.Binary;
using Broker.Domain;
using Broker.Groups;
using Broker.State;
using Broker.Topics;

namespace Broker.Tests.Simulation;

/// <content>What was published of records together with their acknowledgement: of each record one result.</content>
internal sealed partial class GroupHistory
{
    /// <summary>Where the results go.</summary>
    public const string Results = "results";

    private const int MostKept = 10;

    private readonly Dictionary<(int Group, int Topic, int Turn, long Offset), long> _resultOf = [];
    private readonly Dictionary<long, LogIndex> _storedIn = [];
    private readonly List<(int Group, DeliveryToken Token, long Number, byte[] Command)> _sent = [];

    /// <summary>It may be sent again.</summary>
    public void KeepResult(int number, in DeliveryToken token, long result, byte[] command)
    {
        _sent.Add((number, token, result, command));
        if (_sent.Count > MostKept)
        {
            _sent.RemoveAt(0);
        }
    }

    /// <summary>One that was sent by a consumer of a group; null: none now.</summary>
    public (DeliveryToken Token, long Number, byte[] Command)? AnyResult(int number) =>
        _sent.Count > 0 && _sent[group.World.Random.Next(_sent.Count)] is var sent && sent.Group == number
            ? (sent.Token, sent.Number, sent.Command)
            : null;

    /// <summary>A replica has stored a result; the first time says where.</summary>
    public void NoteStored(long number, LogIndex index) => _storedIn.TryAdd(number, index);

    /// <summary>A consumer hears that its result is published.</summary>
    public void CheckResult(ReplicaNode node, long number) => World.Check(
        _storedIn.ContainsKey(number), $"node {node.Id} says that result {number} is published, and it is not");

    /// <summary>
    /// A result is stored exactly when its records become settled by the same entry, which they were not before. What
    /// was refused has finished nothing: that is seen by what is settled and nobody has finished.
    /// </summary>
    private void CheckResults(LogEntry entry, GroupProgressModule groups)
    {
        // One that was sent twice may stand in one entry twice: the first is stored.
        var seen = new HashSet<long>();
        foreach (var command in new CommandSequence(entry.Body))
        {
            if (command.Kind != CommandKind.PublishAndSettle || NumberOf(command) is not { } number
                || !_storedIn.TryGetValue(number, out var stored) || stored != entry.Index
                || !seen.Add(number))
            {
                continue;
            }

            group.World.Figures.Count(Figure.GroupResults);
            foreach (var part in AtomicCommands.Settling(command))
            {
                var settle = GroupCommands.ReadSettle(part);
                foreach (var range in _closed.Contains(settle.Group) ? [] : settle.Ranges)
                {
                    for (var offset = range.First; offset < range.End; offset++)
                    {
                        CheckResult(settle, offset, number, entry, groups);
                    }
                }
            }
        }
    }

    private void CheckResult(
        SettleCommand settle, long offset, long number, LogEntry entry, GroupProgressModule groups)
    {
        var what = $"entry {entry.Index} stores result {number} of {settle.Topic}/{offset}";
        var turn = TurnOf(settle.Group, settle.Topic, settle.Turn);
        var isNew = _resultOf.TryAdd((settle.Group, settle.Topic, settle.Turn, offset), number);
        World.Check(
            isNew, $"{what}, which has one: {_resultOf[(settle.Group, settle.Topic, settle.Turn, offset)]}");
        World.Check(
            offset >= turn.Floor && !turn.Ranges.Exists(range => range.Contains(offset)),
            $"{what}, which was settled before");
        turn.MayEnd.Add(offset);
        var progress = groups.Groups.GetValueOrDefault(settle.Group)?.Find(settle.Topic);
        World.Check(
            progress?.Turn != settle.Turn || progress.Settled.Contains(offset), $"{what}, which is not settled");
    }

    /// <summary>Null: it was thinned, so it is of long ago.</summary>
    private static long? NumberOf(in Command command)
    {
        foreach (var part in AtomicCommands.Parts(command))
        {
            if (!part.IsThinned)
            {
                var batch = TopicCommands.ReadPublish(part).Batch;
                return BinaryPrimitives.ReadInt64LittleEndian(batch[^sizeof(long)..]);
            }
        }

        return null;
    }
}
