using Broker.Consensus;
using Broker.Domain;

namespace Broker.Replication;

/// <summary>
/// Looks, while this replica leads, whether another one would lead better, and hands leadership over when one is fit
/// to; and notices when nothing comes about, whoever leads.
/// </summary>
internal sealed class LeadershipWatch(IGroupLoop loop, GroupWrites writes, PeerLanes lanes, ILogger logger)
{
    private long? _hamperedSinceMs;
    private long _handOverNotBeforeMs;

    /// <summary>The last heir asked has what cannot be read here, though it should rather not lead.</summary>
    private bool _asksUnfit;

    /// <summary>What had committed when that last grew, or was all that there is, while it leads.</summary>
    private LogIndex _committedByMe;

    private long _committedMs;

    /// <summary>What was known to be committed when that last grew, or was all that the leader had committed.</summary>
    private LogIndex _committedThrough;

    private long _progressMs;
    private volatile bool _isStuck;

    /// <summary>
    /// It leads, and nothing can commit: it cannot write and no majority could without it, or too few of its followers
    /// can. Publishes are refused until that is over. Any thread.
    /// </summary>
    public bool IsStuck => _isStuck;

    /// <summary>It has stood still for long behind what its leader has committed.</summary>
    public bool IsBehind { get; private set; }

    /// <summary>
    /// A leader that cannot apply, or cannot help a follower, or has no space for more, holds the whole group up:
    /// another replica that is well leads better. It is tried again while the trouble lasts. When even the heir lacks
    /// what cannot be read, that has not committed. Another one that has it may not want to lead, as it drains; but who
    /// has less may not be elected against it, so it is asked first. When nobody else has it, or who has it cannot
    /// lead, the group goes on without it. For a learner's sake alone only who is fit is asked.
    /// </summary>
    /// <param name="now">The time.</param>
    /// <param name="isApplyBlocked">What is to be applied cannot be read.</param>
    /// <param name="leavesLead">Why this one should not lead although it can; null: no reason.</param>
    public void ConsiderHandingOver(long now, bool isApplyBlocked, string? leavesLead)
    {
        if (loop.Raft.Role != RaftRole.Leader)
        {
            _hamperedSinceMs = null;
            lanes.ForgetUnreadable();
            return;
        }

        var followers = loop.Raft.Followers;
        var holdsUp = isApplyBlocked || lanes.IsBaseUnreadable || followers.Any(LacksUnreadable);
        if (!holdsUp && leavesLead is null && !followers.Any(IsHeldUpLearner))
        {
            _hamperedSinceMs = null;
            return;
        }

        _hamperedSinceMs ??= now;
        var patienceMs = holdsUp ? Limits.HandOverAfterMs : leavesLead is null ? Limits.HandOverForLearnerMs : 0;
        if (now - _hamperedSinceMs < patienceMs)
        {
            return;
        }

        var heir = FurthestOf(followers, IsFit);
        var catchesUp = heir is { } best && !LacksUnreadable(best);
        if (holdsUp && !catchesUp)
        {
            _asksUnfit = !_asksUnfit;
            if (_asksUnfit && FurthestOf(followers, HasUnreadable) is { } unfit)
            {
                (heir, catchesUp) = (unfit, true);
            }
        }

        if (heir is { } next && loop.Raft.TryTransferLeadership(next.NodeId, catchesUp, evenHampered: !IsFit(next)))
        {
            _hamperedSinceMs = now;
            ReplicationEvents.HandingOver(
                logger,
                loop.Id.Value,
                next.NodeId.Value,
                holdsUp || leavesLead is null ? "a part of its log cannot be read" : leavesLead);
        }
    }

    /// <summary>
    /// The entries of a leader leave for its followers beside its own write: whoever has flushed more than the leader
    /// itself can write, and has shown it. With fewer than a majority of those nothing would be won, and callers would
    /// hear that nobody leads. When nobody is elected even so, the heir no longer waits for what this leader may not be
    /// able to give it.
    /// </summary>
    public void HandOverStalled(long now, long lastsMs)
    {
        if (loop.Raft.Role != RaftRole.Leader || now < _handOverNotBeforeMs)
        {
            return;
        }

        var (heir, match, writers) = (NodeId.None, LogIndex.None, 0);
        foreach (var follower in loop.Raft.Followers)
        {
            if (IsFit(follower) && follower.MatchIndex > loop.Raft.FlushedIndex)
            {
                writers++;
                (heir, match) = follower.MatchIndex > match ? (follower.NodeId, follower.MatchIndex) : (heir, match);
            }
        }

        if (writers > loop.Raft.Configuration.Voters.Length / 2
            && loop.Raft.TryTransferLeadership(heir, catchesUp: lastsMs < 2 * Limits.WriteStallMs))
        {
            _handOverNotBeforeMs = now + Limits.WriteStallMs;
            ReplicationEvents.HandingOver(
                logger,
                loop.Id.Value,
                heir.Value,
                writes.IsDiskFull ? "its disk is full" : "its disk does not answer");
        }
    }

    /// <summary>
    /// Hands leadership to a node when it can write and apply, and has the log up to about where the others are: a node
    /// that is not up to it would only stop publishes until the attempt is given up.
    /// </summary>
    public void TransferWhenFit(NodeId to)
    {
        foreach (var follower in loop.Raft.Followers)
        {
            if (follower.NodeId == to && IsFit(follower)
                && follower.MatchIndex + Limits.TransferLagEntries >= loop.Raft.CommitIndex)
            {
                loop.Raft.TryTransferLeadership(to);
                return;
            }
        }
    }

    /// <summary>
    /// Begins to hand leadership to a node, or with none to the fit one that has most of the log; answers to whom, none
    /// when nothing has begun.
    /// </summary>
    public NodeId BeginTransfer(NodeId to)
    {
        var (heir, match) = (NodeId.None, LogIndex.None);
        foreach (var follower in loop.Raft.Followers)
        {
            if (IsFit(follower) && (to.IsNone ? heir.IsNone || follower.MatchIndex > match : follower.NodeId == to))
            {
                (heir, match) = (follower.NodeId, follower.MatchIndex);
            }
        }

        return !heir.IsNone && loop.Raft.TryTransferLeadership(heir) ? heir : NodeId.None;
    }

    /// <summary>Whether this leader can bring nothing about, and has been so for two election timeouts.</summary>
    public void LookWhetherStuck(long now, bool isHampered)
    {
        var raft = loop.Raft;
        if (raft.Role != RaftRole.Leader || raft.CommitIndex > _committedByMe || raft.CommitIndex == raft.LastIndex)
        {
            (_committedByMe, _committedMs) = (raft.CommitIndex, now);
            _isStuck = false;
            return;
        }

        var able = isHampered ? 0 : 1;
        foreach (var follower in raft.Followers)
        {
            able += IsFit(follower) ? 1 : 0;
        }

        _isStuck = now - _committedMs >= 2 * Limits.WriteStallMs
            && (writes.IsStalled || able <= raft.Configuration.Voters.Length / 2);
    }

    /// <summary>A write that was held up has come to its end: publishes are taken again.</summary>
    public void WritesAgain() => _isStuck = false;

    public void LookAtProgress(long now)
    {
        var raft = loop.Raft;
        if (raft.CommitIndex > _committedThrough || raft.CommitIndex >= raft.LeaderCommitIndex)
        {
            _committedThrough = raft.CommitIndex;
            _progressMs = now;
        }

        IsBehind = now - _progressMs >= Limits.BehindAfterMs;
    }

    /// <summary>Of those that have what has committed the one that has most; null: there is none.</summary>
    private FollowerProgress? FurthestOf(IReadOnlyList<FollowerProgress> followers, Func<FollowerProgress, bool> suits)
    {
        FollowerProgress? furthest = null;
        var match = loop.Raft.CommitIndex.Previous();
        foreach (var follower in followers)
        {
            if (follower.MatchIndex > match && suits(follower))
            {
                (furthest, match) = (follower, follower.MatchIndex);
            }
        }

        return furthest;
    }

    /// <summary>It may not be well, or drain; but it lives, and has what this leader cannot read.</summary>
    private bool HasUnreadable(FollowerProgress follower) =>
        follower is { RecentlyActive: true, IsLearner: false, IsLost: false } && !lanes.LacksUnreadable(follower);

    private bool LacksUnreadable(FollowerProgress follower) => IsFit(follower) && lanes.LacksUnreadable(follower);

    private bool IsHeldUpLearner(FollowerProgress follower) =>
        follower is { RecentlyActive: true, IsLearner: true, IsLost: false } && lanes.LacksUnreadable(follower);

    private static bool IsFit(FollowerProgress follower) =>
        follower is { RecentlyActive: true, IsLearner: false, IsLost: false, IsHampered: false };
}
