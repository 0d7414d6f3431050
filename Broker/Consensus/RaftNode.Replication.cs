using Broker.Domain;

namespace Broker.Consensus;

/// <content>The leader's side of the log: append, send, commit.</content>
public sealed partial class RaftNode
{
    /// <summary>Sizes of this leader's entries above the commit index; empty on others.</summary>
    private readonly UncommittedSizes _uncommitted = new();

    /// <summary>The peers while this replica leads; empty otherwise.</summary>
    private readonly List<Follower> _followers = [];

    private long _heartbeatDeadlineMs;

    /// <summary>Something may have become possible to send: look at every follower with the next Ready.</summary>
    private bool _replicationDue;

    /// <summary>The followers as this leader knows them; empty on others. A copy.</summary>
    public IReadOnlyList<FollowerProgress> Followers =>
        [.. _followers.Select(f => new FollowerProgress(f.Id, f.MatchIndex, f.NextIndex, IsRecentlyActive(f)))];

    private long LeaderDeadlineMs
    {
        get
        {
            var heartbeat = IsSingleVoter ? long.MaxValue : _heartbeatDeadlineMs;
            return _transferTarget.IsNone ? heartbeat : Math.Min(heartbeat, _transferDeadlineMs);
        }
    }

    private bool IsRecentlyActive(Follower follower) => _nowMs - follower.LastContactMs < _electionMinMs;

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
        var next = _log.LastIndex.Next();
        foreach (var voter in _voters)
        {
            if (voter != Id)
            {
                _followers.Add(new Follower(voter, next, _nowMs));
            }
        }

        CountUncommittedTail();

        // Entries of older terms commit only below one of this term (Raft thesis 3.6.2); the no-op brings that about at
        // once.
        _noop = AppendAsLeader(LogEntry.OverheadBytes);
        _heartbeatDeadlineMs = _nowMs + _heartbeatMs;
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

        if (IsSingleVoter || _nowMs < _heartbeatDeadlineMs)
        {
            return;
        }

        if (!HearsMajority())
        {
            // Its clients should look for the leader that the others may have elected (check-quorum, Raft thesis 6.2).
            BecomeFollower(Term, NodeId.None);
            return;
        }

        _heartbeatDeadlineMs = _nowMs + _heartbeatMs;
        foreach (var follower in _followers)
        {
            Send(new RaftMessage
            {
                Kind = RaftMessageKind.Heartbeat,
                From = Id,
                To = follower.Id,
                Term = Term,
                CommitIndex = LogIndex.Min(follower.MatchIndex, _commitIndex),
            });
        }
    }

    private bool HearsMajority()
    {
        var heard = 1;
        foreach (var follower in _followers)
        {
            heard += _nowMs - follower.LastContactMs < _electionMaxMs ? 1 : 0;
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
            if (!follower.ProbeSent)
            {
                SendEntries(follower);
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

    private void HandleAppendEntriesResponse(RaftMessage message)
    {
        if (FindFollower(message.From) is not { } follower)
        {
            return;
        }

        follower.LastContactMs = _nowMs;
        if (message.Reject)
        {
            BackUp(follower, message);
            return;
        }

        Acknowledge(follower, message.LogIndex);
        if (follower.IsProbing && message.RejectHint >= follower.NextIndex.Previous())
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
    private void BackUp(Follower follower, RaftMessage message)
    {
        if (message.LogIndex <= follower.MatchIndex)
        {
            // It acknowledged that entry since: the answer is old.
            return;
        }

        if (!follower.IsProbing)
        {
            follower.BecomeProbing(follower.MatchIndex.Next());
            _replicationDue = true;
        }
        else if (follower.NextIndex.Previous() == message.LogIndex)
        {
            var agreement = _log.LastPossibleAgreement(message.RejectHint, message.LogTerm);
            follower.BecomeProbing(LogIndex.Min(message.LogIndex, agreement.Next()));
            _replicationDue = true;
        }
    }

    private void HandleHeartbeatResponse(RaftMessage message)
    {
        if (FindFollower(message.From) is not { } follower)
        {
            return;
        }

        follower.LastContactMs = _nowMs;
        if (message.Reject)
        {
            return;
        }

        Acknowledge(follower, message.LogIndex);
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
            follower.BecomeProbing(follower.IsProbing ? follower.NextIndex : follower.MatchIndex.Next());
            follower.ProbeSent = true;
        }
    }

    private void ResumeFollower(NodeId peer)
    {
        if (FindFollower(peer) is { IsProbing: true } follower)
        {
            follower.ProbeSent = false;
            _replicationDue = true;
        }
    }

    /// <summary>
    /// Commits what a majority has flushed, if it is of this term (Raft thesis 3.6.2). The leader counts itself only up
    /// to what it has flushed; and although the thesis allows it, it never commits beyond that, so that whatever it
    /// applies is on its own disk.
    /// </summary>
    private void TryCommit()
    {
        Span<long> flushed = stackalloc long[_followers.Count + 1];
        flushed[0] = FlushedIndex.Value;
        for (var i = 0; i < _followers.Count; i++)
        {
            flushed[i + 1] = _followers[i].MatchIndex.Value;
        }

        flushed.Sort();
        var onMajority = new LogIndex(flushed[flushed.Length - Majority]);
        var commit = LogIndex.Min(onMajority, FlushedIndex);
        if (commit > _commitIndex && _log.TermAt(commit) == Term)
        {
            _commitIndex = commit;
            _uncommitted.RemoveThrough(commit);
            _replicationDue = true;
        }
    }
}
