namespace Broker.Groups;

/// <summary>Consumers' rights to what they were given, and when they end.</summary>
/// <param name="first">
/// Leases are numbered from it: of one leader no two are to be the same, even if it begins anew with a group.
/// </param>
internal sealed class Leases(long first)
{
    private readonly PriorityQueue<Lease, long> _ends = new();
    private long _last = first - 1;
    private int _live;

    /// <summary>Ends, of those too on which nothing depends any more.</summary>
    public int Count => _ends.Count;

    public long NextEndUnixMs => _ends.TryPeek(out _, out var deadline) ? deadline : long.MaxValue;

    public Lease Begin(GroupConsumer by, DispatchLane lane, OffsetRange range, long deadlineUnixMs) =>
        Add(new Lease(++_last, by, lane, range, deadlineUnixMs) { Left = (int)range.Count });

    /// <summary>The same right for longer, of records that are still to be moved to it.</summary>
    public Lease Extend(Lease lease, long deadlineUnixMs) =>
        Add(lease with { DeadlineUnixMs = deadlineUnixMs, Left = 0 });

    /// <summary>A record of it is out no more, or out under another one.</summary>
    public void Leave(Lease? lease)
    {
        if (lease is not null && --lease.Left == 0)
        {
            _live--;
        }
    }

    public bool TryTakeEnded(long nowUnixMs, out Lease lease)
    {
        var isEnded = _ends.TryPeek(out lease!, out var deadline) && deadline <= nowUnixMs;
        if (isEnded)
        {
            _ends.Dequeue();
        }

        return isEnded;
    }

    /// <summary>
    /// With long leases and quick consumers most ends of leases say nothing when they come: they go when they are too
    /// many.
    /// </summary>
    public void DropIdle()
    {
        if (_ends.Count > (2 * _live) + DueRecords.MostIdle)
        {
            var live = _ends.UnorderedItems.Where(static each => each.Element.Left > 0).ToArray();
            _ends.Clear();
            _ends.EnqueueRange(live);
        }
    }

    private Lease Add(Lease lease)
    {
        _ends.Enqueue(lease, lease.DeadlineUnixMs);
        _live++;
        return lease;
    }
}

/// <summary>A consumer's right to records that it was given together, or to some of them for longer.</summary>
internal sealed record Lease(
    long Number, GroupConsumer By, DispatchLane Lane, OffsetRange Range, long DeadlineUnixMs)
{
    /// <summary>Records that are still out under it.</summary>
    public int Left { get; set; }
}
