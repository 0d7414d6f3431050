using Broker.Domain;
using Broker.Storage;

namespace Broker.Replication;

/// <summary>
/// What the state machine begins with after a start: the newest snapshot that can be used; the log after it is then
/// applied like any other entry.
/// </summary>
public sealed partial class ReplicaGroup
{
    /// <summary>
    /// Index files found at the start, by the first entry of their segment: used when apply has passed the segment.
    /// </summary>
    private readonly Dictionary<LogIndex, ReadOnlyMemory<byte>> _foundIndexes = [];

    /// <summary>
    /// A snapshot can be used when it is whole, and when all that lies before it can be found without memory: each
    /// sealed segment that it covers has its index file. What is missing is made anew while the log is replayed.
    /// </summary>
    private void RestoreNewest()
    {
        var segments = _log.SealedSegments;
        var end = FindIndexes(segments);
        for (var i = _snapshots.Count - 1; i >= 0; i--)
        {
            var index = _snapshots[i];
            if (index < _log.Base.Index || index > _log.LastIndex || index >= end)
            {
                continue;
            }

            if (_log.Snapshots.TryRead(index, out var snapshot) && TryRestore(snapshot, segments, ref end))
            {
                return;
            }
        }

        // Storage opens a log with a base only when the snapshot at it can be read.
        Invariant.Check(_log.Base.Index == LogIndex.None, "a log that begins after 1 has a snapshot to begin with");
        _machine.Restore([]);
        _directoryCrc32Cs.Clear();
    }

    /// <summary>The first entry of the first segment without an index file; beyond all, when each has one.</summary>
    private LogIndex FindIndexes(IReadOnlyList<SealedSegment> segments)
    {
        var end = new LogIndex(long.MaxValue);
        if (!_machine.KeepsIndexes)
        {
            return end;
        }

        foreach (var segment in segments)
        {
            if (_log.Indexes.TryReadDirectory(segment.First, out var last, out var directory) && last == segment.Last)
            {
                _foundIndexes[segment.First] = directory;
            }
            else
            {
                end = LogIndex.Min(end, segment.First);
            }
        }

        return end;
    }

    private bool TryRestore(StateSnapshot snapshot, IReadOnlyList<SealedSegment> segments, ref LogIndex end)
    {
        var at = snapshot.Position.Index;
        var reached = LogIndex.None;
        try
        {
            _machine.Restore(snapshot.Data.Span);
            _directoryCrc32Cs.Clear();
            foreach (var segment in segments)
            {
                if (_machine.KeepsIndexes && segment.Last <= at)
                {
                    reached = segment.First;
                    var directory = _foundIndexes[segment.First];
                    _machine.UseIndex(segment.First, segment.Last, directory);
                    _directoryCrc32Cs[segment.First] = Crc32C.Compute(directory.Span);
                }
            }
        }
        catch (InvalidDataException failure)
        {
            // An older snapshot, or the log from its beginning, gives the same state; it only takes longer.
            ReplicationLog.SnapshotUnusable(_logger, Id.Value, at.Value, failure.Message);
            if (reached > LogIndex.None)
            {
                _foundIndexes.Remove(reached);
                _log.Indexes.Delete(reached);
                end = LogIndex.Min(end, reached);
            }

            return false;
        }

        _applied = at;
        _appliedConfiguration = snapshot.Configuration;
        ReplicationLog.Restored(_logger, Id.Value, at.Value, _log.LastIndex - at);
        return true;
    }
}
