using System.Buffers;
using Broker.Domain;
using Broker.Storage;

namespace Broker.Replication;

/// <summary>
/// Makes a damaged index file anew while the group goes on: a second state machine begins with the snapshot before the
/// segment and applies the log up to the segment's end, in the background and piece by piece.
/// </summary>
internal sealed class IndexRebuild(
    IGroupLoop loop, GroupLog log, IStateMachine machine, LogEntries entries, SegmentIndexes indexes,
    SnapshotKeeper snapshots, GroupBackground background, ILogger logger)
{
    /// <summary>How long a rebuild that failed waits: a segment that it must read may be under repair.</summary>
    private const long RetryMs = 5_000;

    private bool _isUnderWay;
    private long _notBeforeMs;

    private enum Outcome
    {
        Done,
        NotNow,
        NotTheSame,
    }

    /// <summary>Begins with the first damaged file, if there is one.</summary>
    public void Consider(long now)
    {
        if (!_isUnderWay && now >= _notBeforeMs && indexes.TryFindDamaged(out var segment, out var directoryCrc32C))
        {
            Start(new Shadow(segment, directoryCrc32C, machine.MakeShadow()));
        }
    }

    private void Start(Shadow shadow)
    {
        _isUnderWay = true;
        ReplicationEvents.RebuildingIndex(logger, loop.Id.Value, shadow.Segment.First.Value, shadow.Segment.Last.Value);
        LogIndex[] before = [.. snapshots.OnDisk.Where(index => index < shadow.Segment.First)];
        var beginning = loop.Raft.BaseIndex;
        background.Run(() =>
        {
            if (TryBegin(shadow, before, beginning))
            {
                Step(shadow);
            }
            else
            {
                loop.Resume(() => Finish(shadow, Outcome.NotNow));
            }
        });
    }

    /// <summary>The newest snapshot before the segment; without one the log from its first entry.</summary>
    private bool TryBegin(Shadow shadow, LogIndex[] before, LogIndex beginning)
    {
        for (var i = before.Length - 1; i >= 0; i--)
        {
            StateSnapshot? snapshot = null;
            var failure = GroupBackground.Attempt(() => log.Snapshots.TryRead(before[i], out snapshot));
            if (failure is null && snapshot is not null && TryRestore(shadow.Machine, snapshot))
            {
                shadow.Applied = before[i];
                return true;
            }
        }

        return beginning == LogIndex.None;
    }

    private bool TryRestore(IStateMachine shadow, StateSnapshot snapshot)
    {
        try
        {
            shadow.Restore(snapshot.Data.Span);
            return true;
        }
        catch (InvalidDataException failure)
        {
            ReplicationEvents.SnapshotUnusable(
                logger, loop.Id.Value, snapshot.Position.Index.Value, failure.Message);
            return false;
        }
    }

    /// <summary>One piece of the replay; other work of the background comes between two of them.</summary>
    private void Step(Shadow shadow)
    {
        shadow.Buffer.Clear();
        var last = shadow.Segment.Last;
        if (!entries.TryRead(shadow.Applied.Next(), last, Limits.ReadAheadBytes, shadow.Buffer))
        {
            loop.Resume(() => Finish(shadow, Outcome.NotNow));
            return;
        }

        foreach (var entry in shadow.Buffer)
        {
            if (entry.Kind == EntryKind.Commands)
            {
                shadow.Machine.Apply(entry, []);
            }

            shadow.Applied = entry.Index;
        }

        if (shadow.Applied < last)
        {
            background.Run(() => Step(shadow));
            return;
        }

        var outcome = Rewrite(shadow);
        loop.Resume(() => Finish(shadow, outcome));
    }

    private Outcome Rewrite(Shadow shadow)
    {
        var directory = new ArrayBufferWriter<byte>();
        var body = new ArrayBufferWriter<byte>();
        var (first, last) = (shadow.Segment.First, shadow.Segment.Last);
        if (!shadow.Machine.TryWriteIndex(first, last, directory, body)
            || Crc32C.Compute(directory.WrittenSpan) != shadow.DirectoryCrc32C)
        {
            return Outcome.NotTheSame;
        }

        var failure = GroupBackground.Attempt(
            () => log.Indexes.Write(first, last, directory.WrittenSpan, body.WrittenSpan));
        if (failure is not null)
        {
            ReplicationEvents.IndexNotUsed(logger, loop.Id.Value, first.Value, last.Value, failure);
        }

        return failure is null ? Outcome.Done : Outcome.NotNow;
    }

    private void Finish(Shadow shadow, Outcome outcome)
    {
        _isUnderWay = false;
        loop.ConditionChanged();
        var first = shadow.Segment.First;
        if (outcome == Outcome.NotNow)
        {
            _notBeforeMs = loop.NowMs + RetryMs;
            return;
        }

        if (outcome == Outcome.NotTheSame)
        {
            // A purge came between the entry and its index. Without the file the next start makes all of it anew.
            ReplicationEvents.IndexNotRebuilt(logger, loop.Id.Value, first.Value, shadow.Segment.Last.Value);
            indexes.GiveUp(first);
        }

        if (!indexes.IsInUse(first))
        {
            background.Run(() => GroupBackground.Attempt(() => log.Indexes.Delete(first)));
        }
    }

    /// <summary>The second machine and how far it is; it belongs to the background until the rebuild ends.</summary>
    private sealed record Shadow(SealedSegment Segment, uint DirectoryCrc32C, IStateMachine Machine)
    {
        public LogIndex Applied { get; set; }

        public List<LogEntry> Buffer { get; } = [];
    }
}
