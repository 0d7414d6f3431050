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
        if (TryRestoreNewest(segments, ref end))
        {
            return;
        }

        if (_log.Base.Index == LogIndex.None)
        {
            _machine.Restore([]);
            return;
        }

        // The snapshot at the base is damaged, and an index file is missing that only a replay from there could make
        // anew. A later snapshot holds the whole state; what cannot be found without that index is read elsewhere.
        ReplicationEvents.RestoredWithoutIndex(_logger, Id.Value, end.Value);
        end = new LogIndex(long.MaxValue);
        var isRestored = TryRestoreNewest(segments, ref end);

        // Storage opens a log with a base only when a snapshot at or above it can be read.
        Invariant.Check(isRestored, "a log that begins after 1 has a snapshot to begin with");
    }

    private bool TryRestoreNewest(IReadOnlyList<SealedSegment> segments, ref LogIndex end)
    {
        for (var i = _snapshots.Count - 1; i >= 0; i--)
        {
            var index = _snapshots[i];
            if (index < _log.Base.Index || index > _log.LastIndex || index >= end)
            {
                continue;
            }

            if (_log.Snapshots.TryRead(index, out var snapshot) && TryRestore(snapshot, segments, ref end))
            {
                return true;
            }
        }

        return false;
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
                if (segment.Last <= at && _foundIndexes.TryGetValue(segment.First, out var directory))
                {
                    reached = segment.First;
                    _machine.UseIndex(segment.First, segment.Last, directory);
                    _directoryCrc32Cs[segment.First] = Crc32C.Compute(directory.Span);
                }
            }
        }
        catch (InvalidDataException failure)
        {
            // An older snapshot, or the log from its beginning, gives the same state; it only takes longer.
            ReplicationEvents.SnapshotUnusable(_logger, Id.Value, at.Value, failure.Message);
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
        ReplicationEvents.Restored(_logger, Id.Value, at.Value, _log.LastIndex - at);
        return true;
    }
}
