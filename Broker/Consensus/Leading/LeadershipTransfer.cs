using Broker.Domain;

namespace Broker.Consensus;

/// <summary>
/// The leader's hand-over of leadership to a follower, if one is under way (Raft thesis 3.10): the follower is caught
/// up, then told to campaign, once; and all is given up at a deadline.
/// </summary>
internal sealed class LeadershipTransfer
{
    private NodeId _target;
    private long _deadlineMs;
    private bool _isTold;

    public bool IsUnderWay => !_target.IsNone;

    /// <summary>When it is given up; never, when none is under way.</summary>
    public long DeadlineMs => IsUnderWay ? _deadlineMs : long.MaxValue;

    public void Begin(NodeId target, long deadlineMs)
    {
        _target = target;
        _deadlineMs = deadlineMs;
        _isTold = false;
    }

    /// <summary>The follower is to be told to campaign: it is the target, and holds all that the leader has.</summary>
    public bool IsTimeToTell(Follower follower, LogIndex lastIndex) =>
        follower.Id == _target && !_isTold && follower.MatchIndex == lastIndex;

    /// <summary>The target has been told.</summary>
    public void NoteTold() => _isTold = true;

    public void End()
    {
        _target = NodeId.None;
        _isTold = false;
    }
}
