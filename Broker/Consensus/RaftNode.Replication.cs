using Broker.Domain;

namespace Broker.Consensus;

/// <content>The leader's side of the log: append, send, commit.</content>
public sealed partial class RaftNode
{
    /// <summary>Sizes of this leader's entries above the commit index; empty on others.</summary>
    private readonly UncommittedSizes _uncommitted = new();

    /// <summary>The other members while this replica leads.</summary>
    private readonly FollowerTable _followers;

    private long _heartbeatDeadlineMs;

    /// <summary>Something may have become possible to send: look at every follower with the next Ready.</summary>
    private bool _replicationDue;

    /// <summary>The followers as this leader knows them; empty on others. A copy.</summary>
    public IReadOnlyList<FollowerProgress> Followers => _followers.ToProgress(_nowMs);

    private long LeaderDeadlineMs
    {
        get
        {
            var heartbeat = _followers.Count == 0 && IsOnlyVoter ? long.MaxValue : _heartbeatDeadlineMs;
            return _transferTarget.IsNone ? heartbeat : Math.Min(heartbeat, _transferDeadlineMs);
        }
    }

    private void EnterLeadership()
    {
        FollowMembers();
        CountUncommittedTail();

        // Entries of older terms commit only below one of this term (Raft thesis 3.6.2); the no-op brings that about at
        // once.
        _noop = AppendAsLeader(LogEntry.OverheadBytes);
        _heartbeatDeadlineMs = _times.NextBeatMs(_nowMs);
        _followers.HeartbeatCommitIndex = _noop.Value;
    }

    /// <summary>
    /// What earlier leaders left uncommitted counts against the bound too; otherwise each change of leader would let in
    /// as much again. The walk ends where the bound is reached: after a restart the whole log may count as uncommitted,
    /// and proposals then wait until the no-op has committed.
    /// </summary>
    private void CountUncommittedTail()
    {
        var first = _log.LastIndex.Next();
        for (var sum = 0L; sum <= _options.MaxUncommittedBytes && first.Previous() > _commitIndex;)
        {
            first = first.Previous();
            sum += _entrySizeBytes(first);
        }

        for (; first <= _log.LastIndex; first = first.Next())
        {
            _uncommitted.Add(first, _entrySizeBytes(first));
        }
    }

    private void LeaveLeadership()
    {
        _followers.Clear();
        _uncommitted.Clear();
        RefuseReads();
        _replicationDue = false;
        ClearTransfer();
    }

    private LogIndex AppendAsLeader(int sizeBytes)
    {
        var index = _log.Append(Term);
        _uncommitted.Add(index, sizeBytes);
        _replicationDue = true;
        return index;
    }

    private void TickLeader()
    {
        if (!_transferTarget.IsNone && _nowMs >= _transferDeadlineMs)
        {
            ClearTransfer();
        }

        if (_nowMs < LeaderDeadlineMs)
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

            SendHeartbeat(follower, follower.IsVoter ? ReadRoundUnderWay : 0);
        }
    }

    private void SendHeartbeat(Follower follower, long readRound)
    {
        var (learnerSince, context) = follower.ToTell(_commitIndex, readRound);
        Send(new RaftMessage
        {
            Kind = RaftMessageKind.Heartbeat,
            From = Id,
            To = follower.Id,
            Term = Term,
            CommitIndex = LogIndex.Min(follower.MatchIndex, _commitIndex),
            LearnerSince = learnerSince,
            Context = context,
        });
    }

    private void ReplicateToAll()
    {
        _replicationDue = false;
        foreach (var follower in _followers)
        {
            ReplicateTo(follower);
        }
    }

    private void ReplicateTo(Follower follower)
    {
        if (!follower.IsReplicating)
        {
            if (!follower.ProbeSent && follower.Loss is null)
            {
                SendProbe(follower);
            }

            return;
        }

        while (follower.NextIndex <= _log.LastIndex && follower.InFlightBytes < _options.MaxInFlightBytes)
        {
            SendEntries(follower);
        }

        // While entries flow they carry the commit index; the last one of a burst is told by an empty message, so that
        // reads on followers need not wait for a heartbeat.
        if (_commitIndex == _log.LastIndex && follower.SentCommitIndex < _commitIndex)
        {
            SendEmptyAppend(follower, wantsAnswer: false);
        }
    }

    /// <summary>
    /// Sends entries from the follower's next index on: as many as one message may hold, none when there are none.
    /// </summary>
    private void SendEntries(Follower follower)
    {
        var count = 0;
        var sizeBytes = 0;
        while (follower.NextIndex + count <= _log.LastIndex)
        {
            var entryBytes = SizeOf(follower.NextIndex + count);
            if (count > 0 && sizeBytes + entryBytes > _options.MaxAppendBytes)
            {
                break;
            }

            sizeBytes += entryBytes;
            count++;
        }

        SendAppend(follower, count, wantsAnswer: count == 0);
        follower.Sent(follower.NextIndex.Previous() + count, sizeBytes);
    }

    private void SendEmptyAppend(Follower follower, bool wantsAnswer) => SendAppend(follower, 0, wantsAnswer);

    private void SendAppend(Follower follower, int count, bool wantsAnswer)
    {
        var previous = follower.NextIndex.Previous();
        follower.SentCommitIndex = _commitIndex;
        Send(new RaftMessage
        {
            Kind = RaftMessageKind.AppendEntries,
            From = Id,
            To = follower.Id,
            Term = Term,
            LogIndex = previous,
            LogTerm = _log.TermAt(previous),
            CommitIndex = _commitIndex,
            EntryCount = count,
            EntryTerms = _log.TermsOf(follower.NextIndex, count),
            Context = wantsAnswer ? 1 : 0,
        });
    }

    private int SizeOf(LogIndex index) =>
        _uncommitted.TryGet(index, out var sizeBytes) ? sizeBytes : _entrySizeBytes(index);

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

        Acknowledge(follower, message.LogIndex);
        if (Role == RaftRole.Leader && follower.TryReplicate(message.RejectHint, _log))
        {
            _replicationDue = true;
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
        var isLossOver = follower.TryEndLoss(message.Context, _log.LastIndex);
        _replicationDue |= isLossOver;
        if (follower.Loss is not null)
        {
            // Told before the loss.
            return;
        }

        if (message.Context < FirstLossNumber)
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
            SendEmptyAppend(follower, wantsAnswer: true);
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
        var commit = LogIndex.Min(_followers.FlushedByMajority(FlushedIndex), FlushedIndex);
        if (commit > _commitIndex && _log.TermAt(commit) == Term)
        {
            _commitIndex = commit;
            _uncommitted.RemoveThrough(commit);
            _replicationDue = true;
            StepDownWhenRemoved();
        }
    }
}
