using System.Buffers;
using Broker.Domain;
using Broker.Storage;

namespace Broker.Replication;

/// <summary>
/// Gives back the space of what nobody can read any more, wherever it lies in the log: a sealed segment of which enough
/// is gone is written anew, entry by entry, each with its index, term and time and with what is still wanted of it.
/// Each replica does it for itself, in the background, as fast as <see cref="Limits.ThinnedBytesPerSecond"/> allows,
/// and faster while there is much. Only what the newest snapshot covers is touched: it is committed, and a start
/// applies none of it again.
/// <para>Of segments of which nothing is wanted only what tells of their publishes is left, which is little: those that
/// stand in a row become one, so that their number stays small.</para>
/// </summary>
internal sealed class LogThinning(
    IGroupLoop loop, GroupLog log, IStateMachine machine, SegmentIndexes indexes, SnapshotKeeper snapshots,
    GroupBackground background, ThinningTurn turn, ILogger logger)
{
    /// <summary>
    /// What a look counts for, however small the segments are: it goes through all of them, and through what the state
    /// machine keeps of each.
    /// </summary>
    private const int LookBytes = 8 * SegmentThinning.PieceBytes;

    /// <summary>What a rewrite must give back: half of what made it worth a try, which is a guess.</summary>
    private const int LeastPart = 2 * Limits.ThinnedPart;

    /// <summary>Other groups of the node wait for the turn, and ask for it once a second.</summary>
    private const long LetOthersMs = 1_500;

    /// <summary>
    /// What is not wanted of a segment, but stays: found when it was tried. By the segment's first entry.
    /// </summary>
    private readonly Dictionary<LogIndex, long> _stays = [];

    private bool _hasTurn; // a look, or a rewrite, is under way
    private Action? _waiting; // goes on with a look or a rewrite that has used up what it may read in this second
    private long _leftBytes;
    private long _notBeforeMs;
    private bool _isBehind; // there was much to give back at the last look

    /// <summary>What there was when nothing was found: applied, covered by a snapshot, without an index file.</summary>
    private (LogIndex Applied, LogIndex Snapshot, LogIndex NotIndexed) _lookedAt;

    /// <summary>At the last second.</summary>
    private LogIndex _applied;

    /// <summary>Once a second.</summary>
    public void Consider(long now, LogIndex applied)
    {
        _leftBytes = _isBehind ? Limits.ThinnedBytesPerSecondBehind : Limits.ThinnedBytesPerSecond;
        if (_waiting is { } goOn)
        {
            _waiting = null;
            goOn();
        }
        else if (!_hasTurn && now >= _notBeforeMs && StateAt(applied) != _lookedAt && turn.TryTake())
        {
            _hasTurn = true;
            _applied = applied;
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
            if (segment.Last <= snapshots.Newest && !segment.IsDamaged && indexes.IsInUse(segment.First)
                && segment.HollowThrough == LogIndex.None)
            {
                segments.Add((segment, _stays.GetValueOrDefault(segment.First)));
            }
        }

        // Of hollow segments there is nothing to give back; what is gone of the others is found when they are whole.
        if (segments.Count == 0 || log.HollowSegments > 0 || machine.LookForThinning() is not { } thinning)
        {
            Rest(state);
            return;
        }

        Learn(thinning, segments, state);
    }

    /// <summary>The machine reads what it must, piece by piece; then it is known which segment is worth it.</summary>
    private void Learn(
        ILogThinning thinning,
        List<(SealedSegment Segment, long StaysBytes)> segments,
        (LogIndex Applied, LogIndex Snapshot, LogIndex NotIndexed) state)
    {
        if (_leftBytes <= 0)
        {
            _waiting = () => Learn(thinning, segments, state);
            return;
        }

        var snapshotsAt = snapshots.OnDisk.ToHashSet();
        background.Run(() =>
        {
            var sealedSegments = segments.Select(static each => each.Segment).ToList();
            var read = thinning.Learn(sealedSegments, log.Read, SegmentThinning.PieceBytes);
            var (found, goneBytes) = read > 0 ? default : Find(thinning, segments, snapshotsAt);
            var isMore = read > 0 || (found is null && thinning.TryLearnAgain());
            loop.Resume(() =>
            {
                _leftBytes -= read;
                _isBehind = read > 0 ? _isBehind : goneBytes > Limits.ThinnedBacklogBytes;
                if (isMore)
                {
                    Learn(thinning, segments, state);
                }
                else if (found is null)
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

    /// <summary>
    /// The segment that gives most, or segments that can become one; null: there are none. And what all that are worth
    /// it could give.
    /// </summary>
    private (Job? Found, long GoneBytes) Find(
        ILogThinning thinning, List<(SealedSegment Segment, long StaysBytes)> segments, HashSet<LogIndex> snapshotsAt)
    {
        var kept = new Dictionary<LogIndex, long>();
        thinning.AddKeptBytes(kept);
        Job? best = null;
        var (mostBytes, allBytes) = (0L, 0L);
        foreach (var (segment, staysBytes) in segments)
        {
            var keptBytes = Math.Min(kept.GetValueOrDefault(segment.First), segment.SizeBytes);
            var framesBytes = (segment.Last - segment.First + 1) * LogEntry.OverheadBytes;
            var goneBytes = segment.SizeBytes - Math.Max(staysBytes, framesBytes) - keptBytes;
            if (goneBytes < segment.SizeBytes / Limits.ThinnedPart)
            {
                continue;
            }

            allBytes += Math.Max(0, goneBytes);
            if (goneBytes > mostBytes)
            {
                mostBytes = goneBytes;
                best = new Job(thinning, segment, keptBytes);
            }
        }

        var gone = segments.Where(each => kept.GetValueOrDefault(each.Segment.First) == 0);
        best ??= FindRow(thinning, [.. gone.Select(static each => each.Segment)], snapshotsAt);
        return (best, allBytes);
    }

    /// <summary>
    /// The first row of segments, of which nothing is wanted, that can become one: none is more than twice as large as
    /// the others together. The log can be dropped through a snapshot that ends a segment, so none lies within it.
    /// </summary>
    private Job? FindRow(ILogThinning thinning, List<SealedSegment> gone, HashSet<LogIndex> snapshotsAt)
    {
        for (var first = 0; first < gone.Count; first++)
        {
            var (end, sumBytes, largestBytes) = (first, 0L, 0L);
            while (end < gone.Count && end - first < Limits.MergedSegmentsMax
                && (end == first
                    || (gone[end].First == gone[end - 1].Last.Next() && !snapshotsAt.Contains(gone[end - 1].Last)))
                && sumBytes + gone[end].SizeBytes <= log.SegmentBytes)
            {
                sumBytes += gone[end].SizeBytes;
                largestBytes = Math.Max(largestBytes, gone[end].SizeBytes);
                end++;
            }

            // What grows by a half each time is written a few times at the most, and no more than some ten files stay.
            if (end - first > 1 && 3 * largestBytes <= 2 * sumBytes)
            {
                var row = new SealedSegment(gone[first].First, gone[end - 1].Last, sumBytes, IsDamaged: false);
                return new Job(thinning, row, keptBytes: 0) { IsRow = true };
            }
        }

        return null;
    }

    private void GoOn(Job job)
    {
        if (_leftBytes <= 0)
        {
            _waiting = () => GoOn(job);
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
        job.ReadBytes = 0;
        var rewrite = job.Rewrite ??= log.RewriteSegments(segment.First, segment.Last);
        var thinner = job.Thinner ??= job.Thinning.TryBegin(segment.First, segment.Last)
            ?? throw new StorageException("its index file cannot be read, or does not know all of it");
        job.ReadBytes = rewrite.AddPiece(log, thinner, hollowToo: false);

        // What was published in small pieces leaves much behind; then the file is as good as it was.
        job.IsWorthIt = job.IsRow || rewrite.SizeBytes <= segment.SizeBytes - (segment.SizeBytes / LeastPart);
        if (!job.IsWorthIt)
        {
            job.IsDone = true;
            job.SizeBytes = segment.SizeBytes;
            job.Discard();
        }
        else if (rewrite.Next > rewrite.Last)
        {
            Finish(job, rewrite);
        }
    }

    private void Finish(Job job, SegmentRewrite rewrite)
    {
        rewrite.Finish();
        job.SizeBytes = rewrite.SizeBytes;
        job.IsDone = true;
        job.Discard();
        if (job.IsRow)
        {
            // The files of what it is made of are gone. Without its own the next start makes it anew.
            job.Thinning.WriteGoneIndex(job.Directory);
            log.Indexes.Write(job.Segment.First, job.Segment.Last, job.Directory.WrittenSpan, []);
        }
    }

    private void Take(Job job, string? failure)
    {
        var segment = job.Segment;
        _leftBytes -= job.ReadBytes;
        if (failure is not null)
        {
            ReplicationEvents.SegmentNotThinned(
                logger, loop.Id.Value, segment.First.Value, segment.Last.Value, failure);
        }
        else if (!job.IsDone)
        {
            GoOn(job);
            return;
        }

        if (!job.IsDone)
        {
            Rest(default);
            return;
        }

        if (job.IsRow)
        {
            foreach (var first in _stays.Keys.Where(first => first > segment.First && first <= segment.Last).ToList())
            {
                _stays.Remove(first);
            }

            if (segment.First > loop.Raft.BaseIndex)
            {
                indexes.TakeMerged(segment, job.Directory.WrittenMemory);
            }
        }

        _stays[segment.First] = Math.Max(0, job.SizeBytes - job.KeptBytes);
        if (job.IsWorthIt)
        {
            ReplicationEvents.SegmentThinned(
                logger, loop.Id.Value, segment.First.Value, segment.Last.Value, job.SizeBytes, segment.SizeBytes);
            loop.ConditionChanged();
        }

        _leftBytes -= LookBytes;
        if (turn.MayKeep() && _leftBytes > 0)
        {
            Look(StateAt(_applied));
            return;
        }

        if (!turn.MayKeep())
        {
            _notBeforeMs = loop.NowMs + LetOthersMs;
        }

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

        /// <summary>Several segments of which nothing is wanted, to become one.</summary>
        public bool IsRow { get; init; }

        public IEntryThinner? Thinner { get; set; }

        /// <summary>Of the row's index file.</summary>
        public ArrayBufferWriter<byte> Directory { get; } = new();

        public SegmentRewrite? Rewrite { get; set; }

        /// <summary>Of the last piece.</summary>
        public long ReadBytes { get; set; }

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

/// <summary>What is common to whatever writes a segment anew with less in its entries.</summary>
internal static class SegmentThinning
{
    /// <summary>Read and written in one go; other work of the background comes between two of them.</summary>
    public const int PieceBytes = Limits.AppendMessageBytes;

    /// <summary>Adds the next entries, as they are thinned; returns how many bytes they had.</summary>
    /// <exception cref="StorageException">They are not in the log any more, or the disk failed.</exception>
    public static long AddPiece(this SegmentRewrite rewrite, GroupLog log, IEntryThinner thinner, bool hollowToo)
    {
        var read = new List<LogEntry>();
        if (log.Read(rewrite.Next, rewrite.Last, PieceBytes, read, hollowToo) == 0)
        {
            throw new StorageException("it has left the log");
        }

        var bytes = 0L;
        foreach (var entry in read)
        {
            rewrite.Add(thinner.Thin(entry));
            bytes += entry.SizeBytes;
        }

        return bytes;
    }
}
