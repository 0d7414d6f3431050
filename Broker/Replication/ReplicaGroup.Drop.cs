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

        // Raft first: from now on nobody is sent what is about to go.
        _raft.CompactThrough(through);
        _gathering.DropThrough = _dropping = through;
    }

    /// <summary>The highest snapshot with nothing wanted at or before it.</summary>
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
            if (index < wanted && (_toIndex.Count == 0 || index < _toIndex.Peek().First))
            {
                return index;
            }
        }

        return LogIndex.None;
    }

    /// <summary>The log writer has dropped the log through here.</summary>
    private void FinishDrop(LogIndex through)
    {
        _dropping = null;
        _snapshots.RemoveAll(index => index < through);
        _machine.DropIndexes(through);
        foreach (var first in _directoryCrc32Cs.Keys.Where(first => first <= through).ToList())
        {
            _directoryCrc32Cs.Remove(first);
        }

        ReplicationLog.Dropped(_logger, Id.Value, through.Value);
        _conditionIsStale = true;
    }
}
