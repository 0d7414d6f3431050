using Broker.Domain;
using Broker.Storage;

namespace Broker.Replication;

/// <summary>
/// The sealed segments that apply has not passed yet. A segment is sealed by the write of the entry after it, which
/// commits later: so apply never passes the end of a segment without knowing.
/// </summary>
internal sealed class SealsAhead(GroupLog log)
{
    private readonly Queue<SealedSegment> _ahead = new(); // in log order
    private LogIndex _passed; // every segment through here was passed
    private LogIndex _sealedThrough; // what the queue was made of

    /// <summary>The state is that after another entry, from which apply goes on.</summary>
    public void Restart(LogIndex applied)
    {
        _ahead.Clear();
        _passed = applied;
        _sealedThrough = LogIndex.None;
    }

    /// <summary>Called after each write.</summary>
    public void Look(LogIndex applied)
    {
        if (log.SealedThrough == _sealedThrough)
        {
            return;
        }

        _sealedThrough = log.SealedThrough;
        _ahead.Clear();
        foreach (var segment in log.SealedSegments)
        {
            if (segment.Last > _passed)
            {
                Invariant.Check(segment.Last >= applied, "apply does not pass the end of a sealed segment");
                _ahead.Enqueue(segment);
            }
        }
    }

    /// <summary>Whether the last applied entry is the last one of a segment that was not passed.</summary>
    public bool TryPass(LogIndex applied, out SealedSegment segment)
    {
        if (!_ahead.TryPeek(out segment) || segment.Last != applied)
        {
            return false;
        }

        _passed = applied;
        _ahead.Dequeue();
        return true;
    }
}
