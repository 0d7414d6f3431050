using Broker.Domain;
using Broker.Storage;

namespace Broker.Replication;

/// <summary>
/// Gives up what the entries of a learner's sealed segments say, which the group's voters keep: one segment at a time
/// on a node, in the background, as fast as <see cref="Limits.ThinnedBytesPerSecond"/> allows. Only what the newest
/// snapshot covers is touched: it is committed. Where a start has lost that snapshot, it applies what is left of the
/// entries, with the same results.
/// <para>Nobody may count on this replica for those entries: it says that it is hollow before the first one goes, and
/// until the last one is back (<see cref="Consensus.HollowWord"/>).</para>
/// </summary>
internal sealed class LogHollowing(
    IGroupLoop loop, GroupLog log, IStateMachine machine, SegmentIndexes indexes, SnapshotKeeper snapshots,
    GroupBackground background, ThinningTurn turn, Action made, ILogger logger)
{
    private bool _isWanted;
    private long _leftBytes; // of what may be read in this second
    private long _notBeforeMs; // it failed, as on a full disk

    /// <summary>A segment is being written anew.</summary>
    public bool IsUnderWay { get; private set; }

    /// <summary>Once a second.</summary>
    public void Consider(bool isWanted)
    {
        _isWanted = isWanted;
        _leftBytes = Limits.ThinnedBytesPerSecond;
        TryBegin();
    }

    private void TryBegin()
    {
        if (!May || IsUnderWay || loop.NowMs < _notBeforeMs || Next() is not { } segment
            || machine.MakeHollower(segment.First, segment.Last) is not { } thinner || !turn.TryTake())
        {
            return;
        }

        IsUnderWay = true;
        GoOn(new Job(segment, thinner));
    }

    private bool May => _isWanted && loop.Raft.MayGiveUpEntries;

    private SealedSegment? Next()
    {
        foreach (var segment in log.SealedSegments)
        {
            if (segment.Last > snapshots.Newest)
            {
                return null;
            }

            if (segment is { IsHollow: false, IsDamaged: false } && indexes.IsInUse(segment.First))
            {
                return segment;
            }
        }

        return null;
    }

    private void GoOn(Job job) => background.Run(() =>
    {
        var failure = GroupBackground.Attempt(() => Step(job));
        loop.Resume(() => Take(job, failure));
    });

    private void Step(Job job)
    {
        var rewrite = job.Rewrite ??= log.HollowSegment(job.Segment.First);
        if (rewrite.Next > rewrite.Last)
        {
            rewrite.Finish();
            job.IsDone = true;
            return;
        }

        rewrite.AddPiece(log, job.Thinner, hollowToo: true);
    }

    /// <summary>Between two pieces, and before the file takes its place, it is asked whether it may still.</summary>
    private void Take(Job job, string? failure)
    {
        if (failure is null && !job.IsDone && May)
        {
            GoOn(job);
            return;
        }

        var segment = job.Segment;
        _leftBytes -= segment.SizeBytes;
        if (job.IsDone)
        {
            ReplicationEvents.SegmentHollowed(
                logger, loop.Id.Value, segment.First.Value, segment.Last.Value, job.Rewrite!.SizeBytes,
                segment.SizeBytes);
        }
        else if (failure is not null)
        {
            ReplicationEvents.SegmentNotHollowed(
                logger, loop.Id.Value, segment.First.Value, segment.Last.Value, failure);
            _notBeforeMs = loop.NowMs + Limits.ThinnedLookMs;
        }

        background.Run(() =>
        {
            GroupBackground.Attempt(job.Discard);
            loop.Resume(End);
        });
    }

    private void End()
    {
        var mayKeep = turn.MayKeep();
        made();
        IsUnderWay = false;
        turn.End();
        loop.ConditionChanged();
        if (mayKeep && _leftBytes > 0)
        {
            TryBegin();
        }
    }

    /// <summary>One segment; it belongs to the background, or to the loop, whose turn it is.</summary>
    private sealed class Job(SealedSegment segment, IEntryThinner thinner)
    {
        public SealedSegment Segment => segment;

        public IEntryThinner Thinner => thinner;

        public SegmentRewrite? Rewrite { get; set; }

        public bool IsDone { get; set; }

        public void Discard() => Rewrite?.Dispose();
    }
}
