using Broker.Domain;

namespace Broker.Consensus;

/// <content>The leader's side of the log: append, send, commit.</content>
public sealed partial class RaftNode
{
    private readonly EntrySizes _sizes;

    /// <summary>The other members while this replica leads.</summary>
    private readonly FollowerTable _followers;

    private readonly FollowerSender _sender;

    private long _heartbeatDeadlineMs;

    /// <summary>Something may have become possible to send: look at every follower with the next Ready.</summary>
    private bool _replicationDue;

    /// <summary>The followers as this leader knows them; empty on others. A copy.</summary>
    public IReadOnlyList<FollowerProgress> Followers => _followers.ToProgress(_nowMs);

    /// <summary>
    /// Sends no entries to a learner for so long, as its copy takes from what the others need. Heartbeats go on; what
    /// has left goes on, too. Does nothing to a voter, for whose copy commits may wait.
    /// </summary>
    public void HoldBack(NodeId learner, long forMs)
    {
        if (_followers.Find(learner) is { IsVoter: false } follower)
        {
            follower.HoldBack(_nowMs + forMs);
        }
    }

    private long HeartbeatDueMs => _followers.Count == 0 && IsOnlyVoter ? long.MaxValue : _heartbeatDeadlineMs;

    private long LeaderDeadlineMs =>
        Math.Min(Math.Min(HeartbeatDueMs, _transfer.DeadlineMs), _followers.NextDueMs);

    /// <summary>What is sent says this much of its sender.</summary>
    private LeaderState AsLeader => new(Term, _commitIndex, _nowMs);

    private void EnterLeadership()
    {
        _sizes.AddTail(_commitIndex, _log.LastIndex, _options.MaxUncommittedBytes);
        AppendRecoveredMembers();
        FollowMembers();

        // Entries of older terms commit only below one of this term (Raft thesis 3.6.2); the no-op brings that about at
        // once.
        var noop = AppendAsLeader(LogEntry.OverheadBytes);
        _disk.NameNoop(noop);
        _heartbeatDeadlineMs = _times.NextBeatMs(_nowMs);
        _followers.HeartbeatCommitIndex = noop;
    }

    private void LeaveLeadership()
    {
        _followers.Clear();
        _sizes.Clear();
        _reads.RefuseAll();
        _replicationDue = false;
        _transfer.End();
    }

    private LogIndex AppendAsLeader(int sizeBytes)
    {
        var index = _log.Append(Term);
        _sizes.Add(index, sizeBytes);
        _replicationDue = true;
        return index;
    }

    private void TickLeader()
    {
        if (_nowMs >= _transfer.DeadlineMs)
        {
            _transfer.End();
        }

        // Who is due is looked up with the next Ready, which puts the time off or sends.
        _replicationDue |= _nowMs >= _followers.NextDueMs;
        if (_nowMs < HeartbeatDueMs)
        {
            return;
        }

        if (!_followers.HearsMajority(_nowMs))
        {
            // Its clients should look for the leader that the others may have elected (check-quorum, Raft thesis 6.2).
            BecomeFollower(Term, NodeId.None);
            return;
        }

        _heartbeatDeadlineMs = _times.NextBeatMs(_nowMs);
        _followers.HeartbeatCommitIndex = LogIndex.Max(_followers.HeartbeatCommitIndex, _commitIndex);
        BeginReadRoundWhenWaiting();
        foreach (var follower in _followers)
        {
            if (follower.IsSnapshotLate(_nowMs))
            {
                follower.GiveUpSnapshot(_log.BaseIndex);
            }

            _sender.SendHeartbeat(follower, follower.IsVoter ? _reads.UnderWay : 0, AreMembersSure, AsLeader);
        }
    }

    private void ReplicateToAll()
    {
        _replicationDue = false;
        foreach (var follower in _followers)
        {
            _sender.Replicate(follower, AsLeader);
        }
    }

    private void HandleAppendEntriesResponse(in RaftMessage message)
    {
        if (_followers.Find(message.From) is not { } follower)
        {
            return;
        }

        follower.LastContactMs = _nowMs;
        if (message.Lost)
        {
            _followers.HearOfLoss(follower, message.Context, _log.LastIndex);
            return;
        }

        if (follower.Loss is not null)
        {
            // Told before the loss: it holds no more.
            return;
        }

        if (message.Reject)
        {
            var mayAgree = new LogPosition(message.RejectHint, message.LogTerm);
            _replicationDue |= follower.TryBackUp(message.LogIndex, mayAgree, _log);
            return;
        }

        follower.AwaitsCommits = message.Force;
        Acknowledge(follower, message.LogIndex);
        if (Role == RaftRole.Leader)
        {
            _replicationDue |= follower.TryReplicate(message.RejectHint, _log)
                || (follower.AwaitsCommits && follower.SentCommitIndex < _commitIndex);
        }
    }

    /// <summary>The follower has flushed its log up to an index, all of it equal to this leader's.</summary>
    private void Acknowledge(Follower follower, LogIndex match)
    {
        Invariant.Check(match <= _log.LastIndex, "a follower acknowledges only what its leader has");
        if (follower.TryAdvance(match))
        {
            _replicationDue = true;
            TryCommit();
            FinishTransferWhenCaughtUp(follower);
        }
    }

    private void HandleHeartbeatResponse(in RaftMessage message)
    {
        if (_followers.Find(message.From) is not { } follower)
        {
            return;
        }

        follower.LastContactMs = _nowMs;
        if (message.Lost)
        {
            _followers.HearOfLoss(follower, message.Context, _log.LastIndex);
            return;
        }

        if (message.Reject)
        {
            return;
        }

        follower.IsHampered = message.Force;
        follower.Hollow = message.Hollow;
        var isLossOver = follower.TryEndLoss(message.Context, _log.LastIndex);
        _replicationDue |= isLossOver;
        if (follower.Loss is not null)
        {
            // Told before the loss.
            return;
        }

        if (message.Context < ReplicaDamage.FirstNumber)
        {
            follower.ForgetFence();
            ConfirmReads(follower, message.Context);
        }
        else if (!isLossOver)
        {
            _followers.HearOfFence(follower, message.Context, _log.LastIndex);
        }

        Acknowledge(follower, message.LogIndex);
        if (Role != RaftRole.Leader || follower.IsInstalling)
        {
            return;
        }

        if (!follower.IsReplicating && !follower.ProbeSent)
        {
            _replicationDue = true;
        }
        else if (!follower.IsReplicating || message.LogIndex < follower.NextIndex.Previous())
        {
            // Sent, not acknowledged: on its way, on the follower's way to its disk, or lost. Which it is shows when
            // the follower is asked about the last of it, without sending it again.
            _sender.Ask(follower, AsLeader);
        }
    }

    private void ResumeFollower(NodeId peer)
    {
        if (_followers.Find(peer) is { IsReplicating: false } follower)
        {
            follower.ProbeAgain(_log.BaseIndex);
            _replicationDue = true;
        }
    }

    /// <summary>
    /// Commits what a majority has flushed, if it is of this term (Raft thesis 3.6.2). The leader counts itself only up
    /// to what it has flushed; and although the thesis allows it, it never commits beyond that, so that whatever it
    /// applies is on its own disk. A leader that its group is about to remove does not count itself (4.2.2).
    /// </summary>
    private void TryCommit()
    {
        Invariant.Check(_followers.Configuration == Configuration, "a leader counts by the configuration in force");
        var commit = LogIndex.Min(_followers.FlushedByMajority(FlushedIndex), FlushedIndex);
        if (commit > _commitIndex && _log.TermAt(commit) == Term)
        {
            _commitIndex = commit;
            _sizes.RemoveThrough(commit);
            _replicationDue = true;
            StepDownWhenRemoved();
        }
    }
}
