using Broker.Domain;

namespace Broker.Replication;

/// <summary>
/// Drops the beginning of the log when nobody needs it: the base moves to a snapshot below everything that is wanted.
/// Each replica does it for itself; what readers may see follows from the replicated state alone.
/// </summary>
public sealed partial class ReplicaGroup
{
    /// <summary>Reads of the snapshot at the base, for followers: while there are any the base stays.</summary>
    private int _snapshotReads;

    private LogIndex? _dropping;

    private void ConsiderDrop()
    {
        var through = DroppableThrough();
        if (through <= _raft.BaseIndex || _dropping is not null || _snapshotReads > 0 || _installing is not null)
        {
            return;
        }

        // Raft keeps its base until the log has moved its own: storage drops nothing when it cannot read the snapshot.
        _gathering.DropThrough = _dropping = through;
    }

    /// <summary>
    /// The highest snapshot with nothing wanted at or before it. It may be the leader's, and lie within a segment; the
    /// log is dropped by whole segments.
    /// </summary>
    private LogIndex DroppableThrough()
    {
        if (_snapshots.Count == 0 || _snapshots[^1] <= _raft.BaseIndex)
        {
            return LogIndex.None;
        }

        // The index files of what stays must be in use: until then the machine may still ask memory, which they are
        // made of.
        var wanted = LogIndex.Min(_machine.FirstNeeded, _applied.Next());
        for (var i = _snapshots.Count - 1; i >= 0; i--)
        {
            var index = _snapshots[i];
            if (index <= _raft.BaseIndex)
            {
                break;
            }

            if (index < wanted && (_toIndex.Count == 0 || index < _toIndex.Peek().First) && IsEndOfSegment(index))
            {
                return index;
            }
        }

        return LogIndex.None;
    }

    private bool IsEndOfSegment(LogIndex index)
    {
        foreach (var segment in _log.SealedSegments)
        {
            if (segment.Last == index)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>
    /// The log writer has dropped the log through here; or nothing, because the snapshot there is gone or damaged. Then
    /// another one is the next to be tried.
    /// </summary>
    private void FinishDrop(LogIndex through)
    {
        _dropping = null;
        if (_log.Base.Index < through)
        {
            _snapshots.Remove(through);
            ReplicationEvents.NotDropped(_logger, Id.Value, through.Value);
            _conditionIsStale = true;
            return;
        }

        _raft.CompactThrough(through);
        _snapshots.RemoveAll(index => index < through);
        _machine.DropIndexes(through);
        foreach (var first in _directoryCrc32Cs.Keys.Where(first => first <= through).ToList())
        {
            _directoryCrc32Cs.Remove(first);
        }

        ReplicationEvents.Dropped(_logger, Id.Value, through.Value);
        _conditionIsStale = true;
    }
}
