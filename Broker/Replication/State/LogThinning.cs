using Broker.Domain;
using Broker.Storage;

namespace Broker.Replication;

/// <summary>
/// Gives back the space of what nobody can read any more, wherever it lies in the log: a sealed segment of which enough
/// is gone is written anew, entry by entry, each with its index, term and time and with what is still wanted of it.
/// Each replica does it for itself, in the background, as fast as <see cref="Limits.ThinnedBytesPerSecond"/> allows.
/// Only what the newest snapshot covers is touched: it is committed, and a start applies none of it again.
/// </summary>
internal sealed class LogThinning(
    IGroupLoop loop, GroupLog log, IStateMachine machine, SegmentIndexes indexes, SnapshotKeeper snapshots,
    GroupBackground background, ThinningTurn turn, ILogger logger)
{
    /// <summary>Read and written in one go; other work of the background comes between two of them.</summary>
    private const int PieceBytes = Limits.AppendMessageBytes;

    /// <summary>
    /// What is not wanted of a segment, but stays: found when it was tried. By the segment's first entry.
    /// </summary>
    private readonly Dictionary<LogIndex, long> _stays = [];

    private bool _hasTurn; // a look, or a rewrite, is under way
    private Job? _waiting; // a rewrite that has used up what it may read in this second
    private long _leftBytes;
    private long _notBeforeMs;

    /// <summary>What there was when nothing was found: applied, covered by a snapshot, without an index file.</summary>
    private (LogIndex Applied, LogIndex Snapshot, LogIndex NotIndexed) _lookedAt;

    /// <summary>Once a second.</summary>
    public void Consider(long now, LogIndex applied)
    {
        _leftBytes = Limits.ThinnedBytesPerSecond;
        if (_waiting is { } job)
        {
            _waiting = null;
            GoOn(job);
        }
        else if (!_hasTurn && now >= _notBeforeMs && StateAt(applied) != _lookedAt && turn.TryTake())
        {
            _hasTurn = true;
            Look(StateAt(applied));
        }
    }

    private (LogIndex Applied, LogIndex Snapshot, LogIndex NotIndexed) StateAt(LogIndex applied) =>
        (applied, snapshots.Newest, indexes.FirstNotInUse);

    private void Look((LogIndex Applied, LogIndex Snapshot, LogIndex NotIndexed) state)
    {
        foreach (var dropped in _stays.Keys.Where(first => first <= loop.Raft.BaseIndex).ToList())
        {
            _stays.Remove(dropped);
        }

        var segments = new List<(SealedSegment Segment, long StaysBytes)>();
        foreach (var segment in log.SealedSegments)
        {
            if (segment.Last <= snapshots.Newest && !segment.IsDamaged && indexes.IsInUse(segment.First))
            {
                segments.Add((segment, _stays.GetValueOrDefault(segment.First)));
            }
        }

        if (segments.Count == 0 || machine.LookForThinning() is not { } thinning)
        {
            Rest(state);
            return;
        }

        background.Run(() =>
        {
            var found = Find(thinning, segments);
            loop.Resume(() =>
            {
                if (found is null)
                {
                    Rest(state);
                }
                else
                {
                    GoOn(found);
                }
            });
        });
    }

    /// <summary>The segment that gives most; null: none gives enough.</summary>
    private static Job? Find(ILogThinning thinning, List<(SealedSegment Segment, long StaysBytes)> segments)
    {
        var kept = new Dictionary<LogIndex, long>();
        thinning.AddKeptBytes(kept);
        Job? best = null;
        var mostBytes = 0L;
        foreach (var (segment, staysBytes) in segments)
        {
            var keptBytes = Math.Min(kept.GetValueOrDefault(segment.First), segment.SizeBytes);
            var goneBytes = segment.SizeBytes - keptBytes - staysBytes;
            if (goneBytes > mostBytes && goneBytes >= segment.SizeBytes / Limits.ThinnedPart)
            {
                mostBytes = goneBytes;
                best = new Job(thinning, segment, keptBytes);
            }
        }

        return best;
    }

    private void GoOn(Job job)
    {
        if (_leftBytes <= 0)
        {
            _waiting = job;
            return;
        }

        background.Run(() =>
        {
            var failure = GroupBackground.Attempt(() => Step(job));
            if (failure is not null)
            {
                GroupBackground.Attempt(job.Discard);
            }

            loop.Resume(() => Take(job, failure));
        });
    }

    private void Step(Job job)
    {
        var segment = job.Segment;
        job.Thinner ??= job.Thinning.TryBegin(segment.First, segment.Last)
            ?? throw new StorageException("its index file cannot be read, or does not know all of it");
        var rewrite = job.Rewrite ??= log.RewriteSegment(segment.First);
        job.Read.Clear();
        if (log.Read(rewrite.Next, rewrite.Last, PieceBytes, job.Read) == 0)
        {
            throw new StorageException("it has left the log");
        }

        foreach (var entry in job.Read)
        {
            rewrite.Add(job.Thinner.Thin(entry));
        }

        if (rewrite.Next <= rewrite.Last)
        {
            return;
        }

        // What was published in small pieces leaves much behind; then the file is as good as it was.
        job.IsWorthIt = rewrite.SizeBytes <= segment.SizeBytes - (segment.SizeBytes / (2 * Limits.ThinnedPart));
        job.SizeBytes = job.IsWorthIt ? rewrite.SizeBytes : segment.SizeBytes;
        if (job.IsWorthIt)
        {
            rewrite.Finish();
        }

        job.Discard();
        job.IsDone = true;
    }

    private void Take(Job job, string? failure)
    {
        var segment = job.Segment;
        foreach (var entry in job.Read)
        {
            _leftBytes -= entry.SizeBytes;
        }

        if (failure is not null)
        {
            ReplicationEvents.SegmentNotThinned(
                logger, loop.Id.Value, segment.First.Value, segment.Last.Value, failure);
            Rest(default);
            return;
        }

        if (!job.IsDone)
        {
            GoOn(job);
            return;
        }

        _stays[segment.First] = Math.Max(0, job.SizeBytes - job.KeptBytes);
        if (job.IsWorthIt)
        {
            ReplicationEvents.SegmentThinned(
                logger, loop.Id.Value, segment.First.Value, segment.Last.Value, job.SizeBytes, segment.SizeBytes);
            loop.ConditionChanged();
        }

        // Other groups of the node may have waited for it.
        _hasTurn = false;
        turn.End();
    }

    private void Rest((LogIndex Applied, LogIndex Snapshot, LogIndex NotIndexed) lookedAt)
    {
        _lookedAt = lookedAt;
        _notBeforeMs = loop.NowMs + Limits.ThinnedLookMs;
        _hasTurn = false;
        turn.End();
    }

    /// <summary>One segment; it belongs to the background, or to the loop, whose turn it is.</summary>
    private sealed class Job(ILogThinning thinning, SealedSegment segment, long keptBytes)
    {
        public ILogThinning Thinning => thinning;

        public SealedSegment Segment => segment;

        /// <summary>What is wanted of it.</summary>
        public long KeptBytes => keptBytes;

        public IEntryThinner? Thinner { get; set; }

        public SegmentRewrite? Rewrite { get; set; }

        public List<LogEntry> Read { get; } = [];

        public bool IsDone { get; set; }

        public bool IsWorthIt { get; set; }

        /// <summary>What the segment takes in the end.</summary>
        public long SizeBytes { get; set; }

        public void Discard()
        {
            Rewrite?.Dispose();
            Rewrite = null;
        }
    }
}
