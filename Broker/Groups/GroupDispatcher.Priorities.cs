using Broker.ClusterState;

namespace Broker.Groups;

/// <content>
/// Records that come again in a group that goes by priority: those that are due stand by their priority, so that one
/// goes before what is new of a lower one. Of a record that an earlier leader has counted the priority is looked up;
/// until then it counts as the lowest.
/// </content>
internal sealed partial class GroupDispatcher
{
    private readonly Queue<(DispatchLane Lane, long Offset, long DueUnixMs)>[] _due =
        [.. Enumerable.Range(0, Priorities).Select(static _ => new Queue<(DispatchLane, long, long)>())];

    private bool GoesByPriority => Settings.Order == ConsumerGroupOrder.Priority;

    /// <summary>Keys are looked up also of records that are known already.</summary>
    private bool LooksAtKnown => KeepsKeyOrder || GoesByPriority;

    private bool HasDue => Array.Exists(_due, static queue => queue.Count > 0);

    /// <summary>Puts what is due where its priority has it.</summary>
    private void SortDue(long nowUnixMs)
    {
        while (GoesByPriority && _waiting.TryPeek(out var next, out _) && next.DueUnixMs <= nowUnixMs)
        {
            _waiting.Dequeue();
            if (IsToCome(next, out var record))
            {
                _due[record.Priority].Enqueue(next);
            }
        }
    }

    private bool TryPeekDue(
        int priority, long nowUnixMs, out (DispatchLane Lane, long Offset, long DueUnixMs) next) => GoesByPriority
        ? _due[priority].TryPeek(out next)
        : _waiting.TryPeek(out next, out _) && next.DueUnixMs <= nowUnixMs;

    private void DropDue(int priority)
    {
        if (GoesByPriority)
        {
            _due[priority].Dequeue();
        }
        else
        {
            _waiting.Dequeue();
        }
    }

    private void DropAllDue()
    {
        foreach (var queue in _due)
        {
            queue.Clear();
        }
    }

    /// <summary>As <see cref="DropAlarms"/>: entries of which nothing is to come any more.</summary>
    private void DropIdleDue()
    {
        if (_due.Sum(static queue => queue.Count) <= (2 * _known) + MostIdleAlarms)
        {
            return;
        }

        for (var priority = 0; priority < Priorities; priority++)
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

    /// <summary>The priority of a record is known now.</summary>
    private void Rank(DispatchLane lane, long offset, byte priority, ref DispatchedRecord record)
    {
        if (record.Priority >= priority)
        {
            return;
        }

        record.Priority = priority;
        lane.Put(offset, record);
        if (record.State == RecordState.Waiting)
        {
            // Where it stands already it is passed over.
            _waiting.Enqueue((lane, offset, record.DueUnixMs), (record.DueUnixMs, offset));
        }
    }
}
