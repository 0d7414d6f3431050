using Broker.ClusterState;

namespace Broker.Groups;

/// <summary>
/// Records that come again, and when. In a group that goes by priority those that are due stand by their priority, so
/// that one goes before what is new of a lower one. Of a record that an earlier leader has counted the priority is
/// looked up; until then it counts as the lowest.
/// </summary>
/// <param name="settings">How the group delivers.</param>
internal sealed class DueRecords(ConsumerGroupSettings settings)
{
    /// <summary>So many ends of waits and of leases on which nothing depends do no harm.</summary>
    public const int MostIdle = 1_000;

    // What was changed since it was put in says nothing any more: it is passed over when its time comes.
    private readonly PriorityQueue<DueRecord, (long DueUnixMs, long Offset)> _waiting = new();

    private readonly Queue<DueRecord>[] _due =
        [.. Enumerable.Range(0, KeyLines.Priorities).Select(static _ => new Queue<DueRecord>())];

    private ConsumerGroupSettings _settings = settings;

    /// <summary>Ends of waits, of those too on which nothing depends any more.</summary>
    public int Count => _waiting.Count + _due.Sum(static queue => queue.Count);

    /// <summary>The settings are other ones: whoever knows what waits adds all of it anew.</summary>
    public void Begin(ConsumerGroupSettings settings)
    {
        _settings = settings;
        foreach (var queue in _due)
        {
            queue.Clear();
        }
    }

    /// <summary>A record waits until then. Where it stands already it is passed over if that is another time.</summary>
    public void Add(DispatchLane lane, long offset, long dueUnixMs) =>
        _waiting.Enqueue(new DueRecord(lane, offset, dueUnixMs), (dueUnixMs, offset));

    public bool IsAny(long nowUnixMs) => Array.Exists(_due, static queue => queue.Count > 0)
        || (_waiting.TryPeek(out var next, out _) && next.DueUnixMs <= nowUnixMs);

    /// <summary>The next one that is not due yet; none before that is.</summary>
    public long NextUnixMs(long nowUnixMs) =>
        _waiting.TryPeek(out var next, out _) && next.DueUnixMs > nowUnixMs ? next.DueUnixMs : long.MaxValue;

    /// <summary>Puts what is due where its priority has it.</summary>
    public void Sort(long nowUnixMs)
    {
        while (_settings.GoesByPriority && _waiting.TryPeek(out var next, out _) && next.DueUnixMs <= nowUnixMs)
        {
            _waiting.Dequeue();
            if (IsToCome(next, out var record))
            {
                _due[record.Priority].Enqueue(next);
            }
        }
    }

    /// <summary>The next one of a priority, which <see cref="Drop"/> takes out; it may say nothing any more.</summary>
    public bool TryPeek(int priority, long nowUnixMs, out DueRecord next) => _settings.GoesByPriority
        ? _due[priority].TryPeek(out next)
        : _waiting.TryPeek(out next, out _) && next.DueUnixMs <= nowUnixMs;

    public void Drop(int priority)
    {
        if (_settings.GoesByPriority)
        {
            _due[priority].Dequeue();
        }
        else
        {
            _waiting.Dequeue();
        }
    }

    /// <summary>It waits still, for that time and with that priority, and not behind others of its key.</summary>
    public bool IsToCome(in DueRecord due, int priority, out DispatchedRecord record) =>
        IsToCome(due, out record) && (!_settings.GoesByPriority || record.Priority == priority);

    /// <summary>What nothing depends on any more goes when there is too much of it.</summary>
    /// <param name="known">Records that are not fresh.</param>
    public void DropIdle(int known)
    {
        if (_waiting.Count > (2 * known) + MostIdle)
        {
            var live = _waiting.UnorderedItems.Where(static each => each.Element.IsAsItWas(out _)).ToArray();
            _waiting.Clear();
            _waiting.EnqueueRange(live);
        }

        if (_due.Sum(static queue => queue.Count) <= (2 * known) + MostIdle)
        {
            return;
        }

        for (var priority = 0; priority < KeyLines.Priorities; priority++)
        {
            for (var left = _due[priority].Count; left > 0; left--)
            {
                var due = _due[priority].Dequeue();
                if (IsToCome(due, out var record) && record.Priority == priority)
                {
                    _due[priority].Enqueue(due);
                }
            }
        }
    }

    private bool IsToCome(in DueRecord due, out DispatchedRecord record) =>
        due.IsAsItWas(out record) && (record.Line is not null || !_settings.KeepsKeyOrder);
}

/// <summary>A record that waits for its time.</summary>
internal readonly record struct DueRecord(DispatchLane Lane, long Offset, long DueUnixMs)
{
    /// <summary>It waits still, and for that time.</summary>
    public bool IsAsItWas(out DispatchedRecord record)
    {
        record = default;
        return !Lane.IsGone && Lane.Records.TryGetValue(Offset, out record)
            && record.State == RecordState.Waiting && record.DueUnixMs == DueUnixMs;
    }
}
