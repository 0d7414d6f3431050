using Broker.Domain;

namespace Broker.Consensus;

/// <content>
/// Going on from one replica by an operator's word, when no leader can be elected any more. It campaigns in a term that
/// nobody can have reached; instead of votes it gathers the word of all others that they give up theirs, durably, until
/// they hold the configuration with which it goes on: itself alone. Each majority of the members before has one of
/// these, or itself, so nobody is elected without that configuration, also not by a replica that comes back later.
/// </content>
public sealed partial class RaftNode
{
    private ForcedRecovery? _recovery;

    /// <summary>
    /// The group has gone on from another replica, without what is committed here: this replica takes part in nothing
    /// any more. At its next start it has lost its log.
    /// </summary>
    public bool IsSuperseded { get; private set; }

    /// <summary>A recovery was forced of which this log holds nothing yet.</summary>
    private bool IsBehindRecovery => Term.Recovery > _log.LastTerm.Recovery;

    /// <summary>
    /// Begins to go on from this replica; it leads when all others have given up their votes, or gives up when not all
    /// answer within an election timeout. What only those have that are not asked is lost. False, and nothing begun: it
    /// leads or hears a leader, is passive, is no voter, or too many are not asked.
    /// </summary>
    /// <param name="others">Who gives up its vote; all but those that are gone for good.</param>
    /// <param name="above">A term that others are known to have reached.</param>
    public bool TryForceRecovery(IReadOnlyCollection<NodeId> others, Term above)
    {
        ArgumentNullException.ThrowIfNull(others);
        var isCovered = ForcedRecovery.Covers(Configuration, Id, others)
            && ForcedRecovery.Covers(_configurations.Previous ?? Configuration, Id, others);
        if (HasLiveLeader || IsPassive || !Configuration.IsVoter(Id) || !isCovered
            || !CanAppendConfiguration || FlushedIndex < _log.LastIndex)
        {
            return false;
        }

        BecomeFollower(Term, NodeId.None);
        EnterTerm((above > Term ? above : Term).OfRecovery(Id), Id);
        Role = RaftRole.Candidate;
        _votes.Clear();
        _recovery = new ForcedRecovery(others);
        _election.Reset(_nowMs);
        foreach (var other in others)
        {
            Send(MessageTo(other, RaftMessageKind.RequestRecovery) with
            {
                LogIndex = _log.LastIndex,
                LogTerm = _log.LastTerm,
            });
        }

        return true;
    }

    /// <summary>
    /// Gives up the vote, unless the group has a leader, or this replica has what the other one lacks: then it is this
    /// one from which the group should go on.
    /// </summary>
    private void HandleRequestRecovery(in RaftMessage message)
    {
        var hasMore = !_damage.IsLost
            && (!_log.IsNoNewerThan(message.LogIndex, message.LogTerm) || _commitIndex > message.LogIndex);
        var keeps = HasLiveLeader || hasMore || (message.Term == Term && VotedFor != message.From);
        if (!keeps)
        {
            BecomeFollower(message.Term, NodeId.None);
            VotedFor = message.From;
            _damage.GiveUpVote(message.LogIndex.Next());
            _disk.MarkHardStateChanged();
        }

        Send(MessageTo(message.From, RaftMessageKind.RecoveryResponse) with { Term = message.Term, Reject = keeps });
    }

    private void HandleRecoveryResponse(in RaftMessage message)
    {
        if (Role != RaftRole.Candidate || _recovery is not { } recovery)
        {
            return;
        }

        if (message.Reject)
        {
            BecomeFollower(Term, NodeId.None);
            return;
        }

        recovery.Agree(message.From);
        BecomeLeaderWhenElected();
    }

    /// <summary>The first entry of a leader by an operator's word: from here on it is the only member.</summary>
    private void AppendRecoveredMembers()
    {
        if (_recovery is null)
        {
            return;
        }

        _recovery = null;
        _damage.GiveUpFence();
        var alone = new GroupConfiguration(_log.LastIndex.Next(), [Id], []);
        AppendAsLeader(LogEntry.OverheadBytes + alone.Encode().Length);
        _configurations.AppendOwn(alone);
    }

    /// <summary>
    /// Whether what is committed here is not what the leader has at an index, because the group went on from a replica
    /// that lacked it. What lies below the base, and is not known to be the leader's too, counts as another's.
    /// </summary>
    private bool IsForkedAt(LogIndex index, Term term) =>
        IsBehindRecovery
        && (index < _log.BaseIndex
            ? _verifiedIndex < _log.BaseIndex
            : index <= _commitIndex && !_log.Contains(index, term));

    private void GiveUpLog()
    {
        IsSuperseded = true;
        Leader = NodeId.None;
        _damage.GiveUpLog();
        _disk.MarkHardStateChanged();
    }
}
