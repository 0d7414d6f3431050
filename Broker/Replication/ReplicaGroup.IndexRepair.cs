using System.Buffers;
using Broker.Domain;
using Broker.Storage;

namespace Broker.Replication;

/// <summary>
/// Makes a damaged index file anew while the group goes on: a second state machine begins with the snapshot before the
/// segment and applies the log up to the segment's end, in the background and piece by piece.
/// </summary>
public sealed partial class ReplicaGroup
{
    /// <summary>How long a rebuild that failed waits: a segment that it must read may be under repair.</summary>
    private const long RebuildRetryMs = 5_000;

    /// <summary>
    /// The directories in use, by their segments' first entries. A file that takes another's place must have the same
    /// one: readers look into it by what the machine has learned from the old one.
    /// </summary>
    private readonly SortedDictionary<LogIndex, uint> _directoryCrc32Cs = [];

    private IndexRebuild? _rebuild;
    private long _rebuildNotBeforeMs;

    private enum RebuildOutcome
    {
        Done,
        NotNow,
        NotTheSame,
    }

    private sealed record IndexRebuild(SealedSegment Segment, uint DirectoryCrc32C, IStateMachine Shadow)
    {
        public LogIndex Applied { get; set; }

        public List<LogEntry> Buffer { get; } = [];
    }

    private int CountDamagedIndexes()
    {
        var count = 0;
        foreach (var first in _directoryCrc32Cs.Keys)
        {
            count += _log.Indexes.IsDamaged(first) ? 1 : 0;
        }

        return count;
    }

    private void ConsiderIndexRepair(long now)
    {
        if (_rebuild is not null || now < _rebuildNotBeforeMs || _installing is not null)
        {
            return;
        }

        foreach (var segment in _log.SealedSegments)
        {
            if (_log.Indexes.IsDamaged(segment.First)
                && _directoryCrc32Cs.TryGetValue(segment.First, out var directoryCrc32C))
            {
                StartRebuild(new IndexRebuild(segment, directoryCrc32C, _machine.MakeShadow()));
                return;
            }
        }
    }

    private void StartRebuild(IndexRebuild rebuild)
    {
        _rebuild = rebuild;
        ReplicationEvents.RebuildingIndex(_logger, Id.Value, rebuild.Segment.First.Value, rebuild.Segment.Last.Value);
        LogIndex[] snapshots = [.. _snapshots.Where(index => index < rebuild.Segment.First)];
        var beginning = _raft.BaseIndex;
        RunInBackground(() =>
        {
            if (TryBegin(rebuild, snapshots, beginning))
            {
                StepRebuild(rebuild);
            }
            else
            {
                Resume(() => FinishRebuild(rebuild, RebuildOutcome.NotNow));
            }
        });
    }

    /// <summary>The newest snapshot before the segment; without one the log from its first entry.</summary>
    private bool TryBegin(IndexRebuild rebuild, LogIndex[] snapshots, LogIndex beginning)
    {
        for (var i = snapshots.Length - 1; i >= 0; i--)
        {
            StateSnapshot? snapshot = null;
            var failure = Attempt(() => _log.Snapshots.TryRead(snapshots[i], out snapshot));
            if (failure is null && snapshot is not null && TryRestoreShadow(rebuild.Shadow, snapshot))
            {
                rebuild.Applied = snapshots[i];
                return true;
            }
        }

        return beginning == LogIndex.None;
    }

    private bool TryRestoreShadow(IStateMachine shadow, StateSnapshot snapshot)
    {
        try
        {
            shadow.Restore(snapshot.Data.Span);
            return true;
        }
        catch (InvalidDataException failure)
        {
            ReplicationEvents.SnapshotUnusable(_logger, Id.Value, snapshot.Position.Index.Value, failure.Message);
            return false;
        }
    }

    /// <summary>One piece of the replay; other work of the background comes between two of them.</summary>
    private void StepRebuild(IndexRebuild rebuild)
    {
        rebuild.Buffer.Clear();
        var last = rebuild.Segment.Last;
        if (!TryRead(rebuild.Applied.Next(), last, Limits.ReadAheadBytes, rebuild.Buffer))
        {
            Resume(() => FinishRebuild(rebuild, RebuildOutcome.NotNow));
            return;
        }

        foreach (var entry in rebuild.Buffer)
        {
            if (entry.Kind == EntryKind.Commands)
            {
                rebuild.Shadow.Apply(entry, []);
            }

            rebuild.Applied = entry.Index;
        }

        if (rebuild.Applied < last)
        {
            RunInBackground(() => StepRebuild(rebuild));
            return;
        }

        var outcome = Rewrite(rebuild);
        Resume(() => FinishRebuild(rebuild, outcome));
    }

    private RebuildOutcome Rewrite(IndexRebuild rebuild)
    {
        var directory = new ArrayBufferWriter<byte>();
        var body = new ArrayBufferWriter<byte>();
        var (first, last) = (rebuild.Segment.First, rebuild.Segment.Last);
        if (!rebuild.Shadow.TryWriteIndex(first, last, directory, body)
            || Crc32C.Compute(directory.WrittenSpan) != rebuild.DirectoryCrc32C)
        {
            return RebuildOutcome.NotTheSame;
        }

        var failure = Attempt(() => _log.Indexes.Write(first, last, directory.WrittenSpan, body.WrittenSpan));
        if (failure is not null)
        {
            ReplicationEvents.IndexNotUsed(_logger, Id.Value, first.Value, last.Value, failure);
        }

        return failure is null ? RebuildOutcome.Done : RebuildOutcome.NotNow;
    }

    private void FinishRebuild(IndexRebuild rebuild, RebuildOutcome outcome)
    {
        _rebuild = null;
        _conditionIsStale = true;
        var first = rebuild.Segment.First;
        if (outcome == RebuildOutcome.NotNow)
        {
            _rebuildNotBeforeMs = NowMs() + RebuildRetryMs;
            return;
        }

        if (outcome == RebuildOutcome.NotTheSame)
        {
            // A purge came between the entry and its index. Without the file the next start makes all of it anew.
            ReplicationEvents.IndexNotRebuilt(_logger, Id.Value, first.Value, rebuild.Segment.Last.Value);
            _directoryCrc32Cs.Remove(first);
        }

        if (!_directoryCrc32Cs.ContainsKey(first))
        {
            RunInBackground(() => Attempt(() => _log.Indexes.Delete(first)));
        }
    }
}
