using Broker.Domain;

namespace Broker.Consensus;

/// <summary>
/// When a replica that does not lead campaigns next, and whether the leader that it hears from is protected until then.
/// Draws its times from the node's random source, one a call.
/// </summary>
internal sealed class ElectionTimer(Random random, RaftTimes times)
{
    /// <summary>When this follower last heard from the leader of its term.</summary>
    private long _leaderContactMs;

    /// <summary>
    /// The leader whose connection broke, until somebody is heard to lead: it is not protected from elections.
    /// </summary>
    private NodeId _brokenLeader;

    /// <summary>The leader whose connection broke, until somebody is heard to lead; else none.</summary>
    public NodeId BrokenLeader => _brokenLeader;

    public long DeadlineMs { get; private set; }

    /// <param name="isOnlyVoter">Nobody else need be waited for.</param>
    /// <param name="isPreferred">The group has had no term yet, and this replica should lead it first.</param>
    /// <param name="nowMs">The start of the replica.</param>
    public void Start(bool isOnlyVoter, bool isPreferred, long nowMs)
    {
        if (isOnlyVoter)
        {
            DeadlineMs = nowMs;
        }
        else if (isPreferred)
        {
            DeadlineMs = nowMs + Draw(0, times.HeartbeatMs);
        }
        else
        {
            Reset(nowMs);
        }
    }

    public void Reset(long nowMs) => DeadlineMs = nowMs + Draw(times.ElectionMinMs, times.ElectionMaxMs);

    /// <summary>
    /// The next attempt after one that failed or stays without an answer comes sooner when there is reason to think
    /// that no leader lives. Pre-votes change nothing, so that haste is harmless.
    /// </summary>
    public void ResetToRetry(bool isPreferred, long nowMs)
    {
        if (!_brokenLeader.IsNone)
        {
            DeadlineMs = nowMs + DrawAfterBreak();
        }
        else if (isPreferred)
        {
            DeadlineMs = nowMs + Draw(times.HeartbeatMs / 2, times.HeartbeatMs);
        }
        else
        {
            Reset(nowMs);
        }
    }

    /// <summary>Everybody is there to answer, so a split vote need not wait out a whole timeout.</summary>
    public void ResetAfterSplitVote(long nowMs) => DeadlineMs = nowMs
        + (_brokenLeader.IsNone ? Draw(times.HeartbeatMs / 2, times.ElectionMinMs) : DrawAfterBreak());

    /// <summary>Lets all others go first.</summary>
    public void StandBack(long nowMs) =>
        DeadlineMs = nowMs + Draw(2 * times.ElectionMaxMs, 3 * times.ElectionMaxMs);

    /// <summary>Somebody is heard to lead, or this replica does.</summary>
    public void HearLeader(long nowMs)
    {
        _leaderContactMs = nowMs;
        _brokenLeader = NodeId.None;
    }

    /// <summary>The leader may be dead: this replica campaigns after a random part of a short time.</summary>
    public void LoseConnection(NodeId leader, long nowMs)
    {
        _brokenLeader = leader;
        DeadlineMs = Math.Min(DeadlineMs, nowMs + Draw(0, times.BrokenConnectionMs));
    }

    public void RegainConnection(NodeId peer)
    {
        if (peer == _brokenLeader)
        {
            _brokenLeader = NodeId.None;
        }
    }

    /// <summary>
    /// A leader that this replica hears from is protected: neither pre-votes nor votes are given against it, so that a
    /// replica that lost contact alone cannot depose it (Raft thesis 4.2.3).
    /// </summary>
    public bool Protects(NodeId leader, long nowMs) =>
        !leader.IsNone && leader != _brokenLeader && nowMs - _leaderContactMs < times.ElectionMinMs;

    private long DrawAfterBreak() => Draw(times.BrokenConnectionMs, 2 * times.BrokenConnectionMs);

    private long Draw(long min, long max) => max <= min ? min : random.NextInt64(min, max + 1);
}
