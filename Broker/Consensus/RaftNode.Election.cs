using Broker.Domain;

namespace Broker.Consensus;

/// <content>Terms, timeouts, pre-votes and votes.</content>
public sealed partial class RaftNode
{
    private readonly ElectionTimer _election;
    private readonly VoteTally _votes = new();

    private long _preVoteRound;

    /// <summary>The last term that this replica is known to have led, on a disk that has lost nothing.</summary>
    private Term _ledTerm;

    /// <summary>The campaign under way was ordered by the leader that hands over (Raft thesis 3.10).</summary>
    private bool _isTransferCampaign;

    /// <summary>Being hampered, it has left others the time to be elected since it last heard a leader.</summary>
    private bool _hasStoodBack;

    /// <summary>See <see cref="ElectionTimer.Protects"/>.</summary>
    private bool HasLiveLeader => Role == RaftRole.Leader || _election.Protects(Leader, _nowMs);

    /// <summary>The group has never had a term, and this replica should lead first.</summary>
    private bool IsPreferredToBegin => Term == Term.None && _options.PreferredLeader == Id;

    private static bool ComesFromLeader(RaftMessageKind kind) =>
        kind is RaftMessageKind.AppendEntries or RaftMessageKind.Heartbeat or RaftMessageKind.TimeoutNow
            or RaftMessageKind.InstallSnapshot;

    /// <summary>
    /// Only a voter leads, and only one whose disk has lost nothing. A snapshot that replaces the log must be on the
    /// disk, so that a leader's log begins after what it has committed.
    /// </summary>
    private bool CanCampaign =>
        (Configuration.IsVoter(Id) || _configurations.MayStillNeed(Id, _commitIndex))
        && !IsPassive && !IsFenced && !IsInDoubt && FlushedIndex >= _log.BaseIndex;

    /// <summary>
    /// A message of a newer term ends whatever this replica is (Raft thesis 3.3), with two exceptions: a pre-vote only
    /// asks, and a vote request against a live leader is not heard. False: the message is done with.
    /// </summary>
    private bool TryEnterNewerTerm(in RaftMessage message)
    {
        switch (message.Kind)
        {
            case RaftMessageKind.RequestPreVote or RaftMessageKind.RequestRecovery:
            case RaftMessageKind.RequestPreVoteResponse when !message.Reject:
                return true;
            case RaftMessageKind.RequestVote when HasLiveLeader && !message.Force:
                return false;
            default:
                BecomeFollower(message.Term, ComesFromLeader(message.Kind) ? message.From : NodeId.None);
                return true;
        }
    }

    /// <summary>
    /// Tells a sender that lives in an older term about the newer one; answers of an older term mean nothing.
    /// </summary>
    private void AnswerOlderTerm(in RaftMessage message)
    {
        var kind = message.Kind switch
        {
            RaftMessageKind.AppendEntries or RaftMessageKind.Heartbeat or RaftMessageKind.InstallSnapshot =>
                RaftMessageKind.HeartbeatResponse,
            RaftMessageKind.RequestVote => RaftMessageKind.RequestVoteResponse,
            RaftMessageKind.RequestPreVote => RaftMessageKind.RequestPreVoteResponse,
            RaftMessageKind.RequestRecovery => RaftMessageKind.RecoveryResponse,
            _ => default,
        };
        if (kind != default)
        {
            Send(MessageTo(message.From, kind) with
            {
                Reject = true,
                Context = message.Context,
            });
        }
    }

    private void BecomeFollower(Term term, NodeId leader)
    {
        Invariant.Check(term >= Term, "the term never goes back");
        var wasActive = Role != RaftRole.Follower || !Leader.IsNone;
        if (Role == RaftRole.Leader)
        {
            LeaveLeadership();
        }

        if (term > Term)
        {
            EnterTerm(term, NodeId.None);
        }

        Role = RaftRole.Follower;
        Leader = leader;
        _isTransferCampaign = false;
        _recovery = null;
        if (!leader.IsNone)
        {
            _election.HearLeader(_nowMs);
            _hasStoodBack = false;
        }

        // A candidate that cannot win must not keep putting off those that can, so a mere newer term leaves a waiting
        // follower's deadline alone.
        if (wasActive || !leader.IsNone)
        {
            _election.Reset(_nowMs);
        }
    }

    private void EnterTerm(Term term, NodeId vote)
    {
        Term = term;
        VotedFor = vote;
        _verifiedIndex = LogIndex.None;
        _acknowledgedIndex = LogIndex.None;
        _disk.MarkHardStateChanged();
    }

    /// <summary>The leader of this term was heard.</summary>
    private void HearLeader(NodeId leader)
    {
        Invariant.Check(Role != RaftRole.Leader, "a term has at most one leader");
        Invariant.Check(Leader.IsNone || Leader == leader, "a term has at most one leader");
        BecomeFollower(Term, leader);
    }

    /// <summary>An election timeout has passed.</summary>
    private void Campaign()
    {
        if (_recovery is not null)
        {
            // Not all have answered: the operator tries again.
            BecomeFollower(Term, NodeId.None);
        }
        else if (IsHampered && !_hasStoodBack)
        {
            // Others go first; when nobody comes, one that at least tells callers what is wrong is better than none.
            _hasStoodBack = true;
            Leader = NodeId.None;
            _election.StandBack(_nowMs);
        }
        else if (!CanCampaign)
        {
            // It waits for somebody to lead, and tells its callers that it knows nobody.
            Leader = NodeId.None;
            _election.Reset(_nowMs);
        }
        else if (IsOnlyVoter)
        {
            BecomeCandidate();
        }
        else
        {
            BecomePreCandidate();
        }
    }

    private void BecomePreCandidate()
    {
        Role = RaftRole.PreCandidate;
        Leader = NodeId.None;
        _isTransferCampaign = false;
        _preVoteRound++;
        ClearVotes();
        _votes.Count(Configuration, Id, granted: true);
        _election.ResetToRetry(IsPreferredToBegin, _nowMs);
        SendToAll(RaftMessageKind.RequestPreVote, Term.Next(), _preVoteRound);
    }

    private void BecomeCandidate()
    {
        EnterTerm(Term.Next(), Id);
        Role = RaftRole.Candidate;
        Leader = NodeId.None;

        // The own vote counts when it is durable, see CountOwnVote.
        ClearVotes();
        _election.Reset(_nowMs);
        SendToAll(RaftMessageKind.RequestVote, Term, 0);
    }

    /// <summary>
    /// A leader whose connection broke will not answer: without counting it as a refusal, two others that have voted
    /// for themselves would wait for it through a whole timeout. Should it answer after all, its answer counts.
    /// </summary>
    private void ClearVotes()
    {
        _votes.Clear();
        if (!_election.BrokenLeader.IsNone)
        {
            _votes.Count(Configuration, _election.BrokenLeader, granted: false);
        }
    }

    private void SendToAll(RaftMessageKind kind, Term term, long context)
    {
        foreach (var voter in Configuration.Voters)
        {
            if (voter != Id)
            {
                Send(MessageTo(voter, kind) with
                {
                    Term = term,
                    LogIndex = _log.LastIndex,
                    LogTerm = _log.LastTerm,
                    Force = _isTransferCampaign,
                    Led = _ledTerm == _log.LastTerm,
                    Context = context,
                });
            }
        }
    }

    private void HandleRequestPreVote(in RaftMessage message)
    {
        var couldVote = message.Term > Term || CouldVoteFor(message.From);
        var granted = couldVote && !HasLiveLeader && HasLogToVoteFor(message);
        Send(MessageTo(message.From, RaftMessageKind.RequestPreVoteResponse) with
        {
            Term = granted ? message.Term : Term,
            Reject = !granted,
            Context = message.Context,
        });
        if (granted && Role == RaftRole.PreCandidate && !_election.BrokenLeader.IsNone
            && message.From.Value < Id.Value)
        {
            GiveWay();
        }
    }

    /// <summary>
    /// Two that hear at the same time that their leader is gone would each get the other's pre-vote, and then each vote
    /// for itself. So the one of the higher number lets the other go first; it asks again soon, in case that one does
    /// not succeed.
    /// </summary>
    private void GiveWay()
    {
        BecomeFollower(Term, NodeId.None);
        _election.ResetAfterSplitVote(_nowMs);
    }

    private void HandleRequestVote(in RaftMessage message)
    {
        var granted = CouldVoteFor(message.From) && HasLogToVoteFor(message);
        if (granted)
        {
            if (VotedFor.IsNone)
            {
                VotedFor = message.From;
                _disk.MarkHardStateChanged();
            }

            _election.Reset(_nowMs);
        }

        Send(MessageTo(message.From, RaftMessageKind.RequestVoteResponse) with { Reject = !granted });
    }

    /// <summary>One vote a term (Raft thesis 3.4); asking again gets the same answer.</summary>
    private bool CouldVoteFor(NodeId candidate) => VotedFor == candidate || (VotedFor.IsNone && Leader.IsNone);

    /// <summary>
    /// The candidate holds all that this replica may have helped to commit (Raft thesis 3.6.1). Whether this replica
    /// is a voter is the candidate's to know: its configuration may be the newer one (4.2.2).
    /// </summary>
    private bool HasLogToVoteFor(in RaftMessage request) =>
        !IsPassive
        && _log.IsNoNewerThan(request.LogIndex, request.LogTerm)
        && _damage.IsCoveredBy(request, IsInDoubt);

    private void HandleRequestPreVoteResponse(in RaftMessage message)
    {
        if (Role == RaftRole.PreCandidate && message.Context == _preVoteRound)
        {
            _votes.Count(Configuration, message.From, !message.Reject);
            if (_votes.IsWon(Configuration))
            {
                BecomeCandidate();
            }
            else
            {
                GiveUpWhenLost();
            }
        }
    }

    private void HandleRequestVoteResponse(in RaftMessage message)
    {
        if (Role == RaftRole.Candidate)
        {
            _votes.Count(Configuration, message.From, !message.Reject);
            BecomeLeaderWhenElected();
            GiveUpWhenLost();
        }
    }

    /// <summary>A candidate's vote for itself is a vote as any other: it counts when it is durable.</summary>
    private void CountOwnVote()
    {
        if (Role == RaftRole.Candidate && _disk.IsHardStateDurable)
        {
            _votes.Count(Configuration, Id, granted: true);
            BecomeLeaderWhenElected();
        }
    }

    private void BecomeLeaderWhenElected()
    {
        var isElected = _recovery is null
            ? _votes.IsWon(Configuration)
            : _recovery.IsAgreed && _disk.IsHardStateDurable;
        if (Role == RaftRole.Candidate && isElected)
        {
            BecomeLeader();
        }
    }

    private void GiveUpWhenLost()
    {
        var isCandidate = Role is RaftRole.PreCandidate or RaftRole.Candidate;
        if (isCandidate && _votes.IsLost(Configuration))
        {
            BecomeFollower(Term, NodeId.None);
            _election.ResetAfterSplitVote(_nowMs);
        }
    }

    private void BecomeLeader()
    {
        Invariant.Check(_disk.IsHardStateDurable && VotedFor == Id, "a leader's own vote is durable");
        Role = RaftRole.Leader;
        Leader = Id;
        _ledTerm = Term;
        _election.HearLeader(_nowMs);
        _isTransferCampaign = false;
        EnterLeadership();
    }
}
