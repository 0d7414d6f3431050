using Broker.Domain;

namespace Broker.Consensus;

/// <content>The leader's side of the log: append, send, commit.</content>
public sealed partial class RaftNode
{
    /// <summary>Sizes of this leader's entries above the commit index; empty on others.</summary>
    private readonly UncommittedSizes _uncommitted = new();

    /// <summary>The other members while this replica leads, voters and learners; empty otherwise.</summary>
    private readonly List<Follower> _followers = [];

    private long _heartbeatDeadlineMs;

    /// <summary>Committed when the last heartbeat left: who has it has caught up (compare Raft thesis 4.2.1).</summary>
    private LogIndex _heartbeatCommitIndex;

    /// <summary>Something may have become possible to send: look at every follower with the next Ready.</summary>
    private bool _replicationDue;

    /// <summary>The followers as this leader knows them; empty on others. A copy.</summary>
    public IReadOnlyList<FollowerProgress> Followers =>
        [.. _followers.Select(f => new FollowerProgress(
            f.Id, f.MatchIndex, f.NextIndex, IsRecentlyActive(f), !f.IsVoter, AwaitsChange(f), IsCaughtUp(f),
            f.IsHampered))];

    private long LeaderDeadlineMs
    {
        get
        {
            var heartbeat = _followers.Count == 0 && IsOnlyVoter ? long.MaxValue : _heartbeatDeadlineMs;
            return _transferTarget.IsNone ? heartbeat : Math.Min(heartbeat, _transferDeadlineMs);
        }
    }

    private bool IsRecentlyActive(Follower follower) => _nowMs - follower.LastContactMs < _electionMinMs;

    private bool IsCaughtUp(Follower follower) =>
        follower.Loss is null && IsRecentlyActive(follower) && follower.MatchIndex >= _heartbeatCommitIndex;

    private Follower? FindFollower(NodeId node)
    {
        foreach (var follower in _followers)
        {
            if (follower.Id == node)
            {
                return follower;
            }
        }

        return null;
    }

    private void EnterLeadership()
    {
        FollowMembers();
        CountUncommittedTail();

        // Entries of older terms commit only below one of this term (Raft thesis 3.6.2); the no-op brings that about at
        // once.
        _noop = AppendAsLeader(LogEntry.OverheadBytes);
        _heartbeatDeadlineMs = NextBeatMs();
        _heartbeatCommitIndex = _noop.Value;
    }

    /// <summary>
    /// The node's groups keep one beat, so that their heartbeats leave together. The first one of a leader comes the
    /// sooner for it, never later.
    /// </summary>
    private long NextBeatMs() => ((_nowMs / _heartbeatMs) + 1) * _heartbeatMs;

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
        _losses.Clear();
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

        if (!HearsMajority())
        {
            // Its clients should look for the leader that the others may have elected (check-quorum, Raft thesis 6.2).
            BecomeFollower(Term, NodeId.None);
            return;
        }

        _heartbeatDeadlineMs = NextBeatMs();
        _heartbeatCommitIndex = LogIndex.Max(_heartbeatCommitIndex, _commitIndex);
        BeginReadRoundWhenWaiting();
        foreach (var follower in _followers)
        {
            GiveUpSnapshotWhenLate(follower);
            SendHeartbeat(follower, follower.IsVoter ? ReadRoundUnderWay : 0);
        }
    }

    private void SendHeartbeat(Follower follower, long readRound)
    {
        var isOffer = IsMadeLearnerAnew(follower);
        var isFenceAnswer = !isOffer && follower.FenceNumber != 0;
        Send(new RaftMessage
        {
            Kind = RaftMessageKind.Heartbeat,
            From = Id,
            To = follower.Id,
            Term = Term,
            CommitIndex = LogIndex.Min(follower.MatchIndex, _commitIndex),
            LearnerSince = isOffer ? follower.LearnerSince : isFenceAnswer ? follower.FenceEnd : LogIndex.None,
            Context = isOffer ? follower.Loss!.Number : isFenceAnswer ? follower.FenceNumber : readRound,
        });
    }

    /// <summary>
    /// Counts voters only; not those that lost their log, which cannot tell whether they have promised themselves to
    /// another leader.
    /// </summary>
    private bool HearsMajority()
    {
        var heard = _configuration.IsVoter(Id) ? 1 : 0;
        foreach (var follower in _followers)
        {
            var isHeard = _nowMs - follower.LastContactMs < _electionMaxMs;
            heard += follower is { IsVoter: true, Loss: null } && isHeard ? 1 : 0;
        }

        return heard >= Majority;
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
        if (follower.IsProbing)
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
        if (FindFollower(message.From) is not { } follower)
        {
            return;
        }

        follower.LastContactMs = _nowMs;
        if (message.Lost)
        {
            HearOfLoss(follower, message.Context);
            return;
        }

        if (follower.Loss is not null)
        {
            // Told before the loss: it holds no more.
            return;
        }

        if (message.Reject)
        {
            BackUp(follower, message);
            return;
        }

        Acknowledge(follower, message.LogIndex);
        var agreesFrom = LogIndex.Max(follower.NextIndex.Previous(), _log.BaseIndex);
        if (Role == RaftRole.Leader && follower is { IsProbing: true, IsInstalling: false }
            && message.RejectHint >= agreesFrom)
        {
            follower.BecomeReplicating(LogIndex.Min(message.RejectHint, _log.LastIndex));
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

    /// <summary>
    /// The entry before those that were sent is not in the follower's log. Its answer names the last entry that may
    /// agree, so each round skips a whole term (Raft paper 5.3, end).
    /// </summary>
    private void BackUp(Follower follower, in RaftMessage message)
    {
        if (follower.IsInstalling)
        {
            // Told before the snapshot left.
            return;
        }

        if (message.LogIndex <= follower.MatchIndex)
        {
            // It acknowledged that entry: the answer is old, or the follower has lost the end of its log since, which
            // it need not have noticed. To ask again tells the two apart and costs a round trip; to take a loss for an
            // old answer would leave the follower behind for ever.
            follower.ForgetMatch(message.RejectHint.Next());
            _replicationDue = true;
            return;
        }

        if (!follower.IsProbing)
        {
            BecomeProbingAgain(follower);
            _replicationDue = true;
        }
        else if (follower.NextIndex.Previous() == message.LogIndex)
        {
            var agreement = _log.LastPossibleAgreement(message.RejectHint, message.LogTerm);
            follower.BecomeProbing(LogIndex.Min(message.LogIndex, agreement.Next()));
            _replicationDue = true;
        }
    }

    private void HandleHeartbeatResponse(in RaftMessage message)
    {
        if (FindFollower(message.From) is not { } follower)
        {
            return;
        }

        follower.LastContactMs = _nowMs;
        if (message.Lost)
        {
            HearOfLoss(follower, message.Context);
            return;
        }

        if (message.Reject)
        {
            return;
        }

        follower.IsHampered = message.Force;
        var isLossOver = EndLossWhenAccepted(follower, message.Context);
        if (follower.Loss is not null)
        {
            // Told before the loss.
            return;
        }

        if (message.Context < FirstLossNumber)
        {
            follower.FenceNumber = 0;
            ConfirmReads(follower, message.Context);
        }
        else if (!isLossOver)
        {
            HearOfFence(follower, message.Context);
        }

        Acknowledge(follower, message.LogIndex);
        if (Role != RaftRole.Leader || follower.IsInstalling)
        {
            return;
        }

        if (follower.IsProbing && !follower.ProbeSent)
        {
            _replicationDue = true;
        }
        else if (follower.IsProbing || message.LogIndex < follower.NextIndex.Previous())
        {
            // Sent, not acknowledged: on its way, on the follower's way to its disk, or lost. Which it is shows when
            // the follower is asked about the last of it, without sending it again.
            SendEmptyAppend(follower, wantsAnswer: true);
        }
    }

    private void PauseFollower(NodeId peer)
    {
        if (FindFollower(peer) is { } follower)
        {
            BecomeProbingAgain(follower);
            follower.ProbeSent = true;
        }
    }

    private void ResumeFollower(NodeId peer)
    {
        if (FindFollower(peer) is { IsProbing: true } follower)
        {
            BecomeProbingAgain(follower);
            _replicationDue = true;
        }
    }

    /// <summary>
    /// Asks first for the entry at the base, if it may be there: a snapshot is the dearer way to find out.
    /// </summary>
    private void BecomeProbingAgain(Follower follower)
    {
        var next = follower.IsProbing ? follower.NextIndex : follower.MatchIndex.Next();
        follower.BecomeProbing(LogIndex.Max(next, _log.BaseIndex.Next()));
    }

    /// <summary>
    /// Commits what a majority has flushed, if it is of this term (Raft thesis 3.6.2). The leader counts itself only up
    /// to what it has flushed; and although the thesis allows it, it never commits beyond that, so that whatever it
    /// applies is on its own disk. A leader that its group is about to remove does not count itself (4.2.2).
    /// </summary>
    private void TryCommit()
    {
        Span<long> flushed = stackalloc long[_configuration.Voters.Length];
        var count = 0;
        if (_configuration.IsVoter(Id))
        {
            flushed[count++] = FlushedIndex.Value;
        }

        foreach (var follower in _followers)
        {
            if (follower.IsVoter)
            {
                flushed[count++] = follower.MatchIndex.Value;
            }
        }

        Invariant.Check(count == flushed.Length, "a leader knows every voter");
        flushed.Sort();
        var onMajority = new LogIndex(flushed[flushed.Length - Majority]);
        var commit = LogIndex.Min(onMajority, FlushedIndex);
        if (commit > _commitIndex && _log.TermAt(commit) == Term)
        {
            _commitIndex = commit;
            _uncommitted.RemoveThrough(commit);
            _replicationDue = true;
            StepDownWhenRemoved();
        }
    }
}
