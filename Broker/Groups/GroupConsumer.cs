using System.Runtime.InteropServices;

namespace Broker.Groups;

/// <summary>A consumer, as the shard's leader knows it.</summary>
internal sealed class GroupConsumer(int id, ConsumerRank rank, string name)
{
    public int Id => id;

    public ConsumerRank Rank => rank;

    public string Name => name;

    public int Records { get; set; }

    public long Bytes { get; set; }

    public int Out { get; private set; }

    public bool IsQueued { get; set; }

    public bool IsGone { get; set; }

    /// <summary>It was told that there is more for it than it has credit for.</summary>
    public bool IsHungry { get; set; }

    public bool MayBeGiven => !IsGone && Records > 0 && Bytes > 0;

    private readonly Dictionary<DispatchLane, int> _held = [];

    public void Hold(DispatchLane lane, int records)
    {
        Out += records;
        ref var held = ref CollectionsMarshal.GetValueRefOrAddDefault(_held, lane, out _);
        held += records;
        if (held == 0)
        {
            _held.Remove(lane);
        }
    }

    public int Held(DispatchLane lane) => _held.GetValueOrDefault(lane);

    public void Forget(DispatchLane lane)
    {
        if (_held.Remove(lane, out var records))
        {
            Out -= records;
        }
    }
}

/// <summary>In which order consumers take over an exclusive group: the same at the leaders of all shards.</summary>
/// <param name="OpenedUnixMs">When its client opened it, by its node's clock.</param>
/// <param name="Node">That node.</param>
/// <param name="Session">Its number there.</param>
internal readonly record struct ConsumerRank(long OpenedUnixMs, int Node, long Session) : IComparable<ConsumerRank>
{
    public int CompareTo(ConsumerRank other) =>
        (OpenedUnixMs, Node, Session).CompareTo((other.OpenedUnixMs, other.Node, other.Session));
}

/// <summary>Names records that were delivered together, while their lease holds, and from any stream.</summary>
/// <param name="Topic">The topic's number in its shard.</param>
/// <param name="Turn">See <see cref="GroupProgress.Turn"/>.</param>
/// <param name="Term">The term of the leader that delivered them.</param>
/// <param name="Lease">Which of its deliveries it was.</param>
/// <param name="DeadlineUnixMs">When the lease ends, unless it was extended.</param>
/// <param name="Attempt">How often they were delivered, that time included.</param>
/// <param name="Range">The records.</param>
internal readonly record struct DeliveryToken(
    int Topic, int Turn, long Term, long Lease, long DeadlineUnixMs, int Attempt, OffsetRange Range);

/// <summary>Records for a consumer.</summary>
/// <param name="Consumer">Whose they are now.</param>
/// <param name="Token">Names them.</param>
internal readonly record struct GivenRecords(int Consumer, DeliveryToken Token);
