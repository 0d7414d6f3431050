using Broker.Consensus;
using Broker.Domain;

namespace Broker.Replication;

/// <summary>
/// Who belongs to the group: changes that a caller asks for, and those that bring it to the desired voters. One at a
/// time, by the leader alone (Raft thesis 4.1).
/// </summary>
public sealed partial class ReplicaGroup
{
    private volatile IReadOnlyList<NodeId>? _desiredVoters;
    private PendingChange? _change;

    private sealed record PendingChange(LogIndex Index, Term Term, TaskCompletionSource<LogIndex> Done);

    /// <summary>
    /// The nodes that should vote. The leader adds a missing one as learner, promotes a learner that has caught up, and
    /// removes a voter that says that it has lost its log, so that it comes back as a learner. Null: members change
    /// only by <see cref="ChangeConfigurationAsync"/>.
    /// </summary>
    public IReadOnlyList<NodeId>? DesiredVoters
    {
        get => _desiredVoters;
        set => _desiredVoters = value;
    }

    /// <summary>Changes the members by one; completes when the change is committed, with its index.</summary>
    /// <exception cref="BrokerException">
    /// NotLeader, NoLeader: ask the leader. FailedPrecondition: it cannot be made, or another change is under way.
    /// OutcomeUnknown: leadership moved meanwhile.
    /// </exception>
    public Task<LogIndex> ChangeConfigurationAsync(MembershipChange change, CancellationToken cancellationToken)
    {
        var done = new TaskCompletionSource<LogIndex>(TaskCreationOptions.RunContinuationsAsynchronously);
        Resume(() => StartChange(change, done));
        return done.Task.WaitAsync(cancellationToken);
    }

    private void StartChange(MembershipChange change, TaskCompletionSource<LogIndex> done)
    {
        if (_change is not null)
        {
            done.SetException(Refusal.MembershipRefused(Id, $"{change}", "another change is under way; retry later"));
            return;
        }

        var result = _raft.TryChangeConfiguration(change, out var index);
        if (result != ProposeResult.Accepted)
        {
            done.SetException(WhyNot(change, result));
            return;
        }

        _change = new PendingChange(index, _raft.Term, done);
        ReplicationEvents.Changing(_logger, Id.Value, change.Kind, change.Node.Value, index.Value);
    }

    private BrokerException WhyNot(MembershipChange change, ProposeResult result) => result switch
    {
        ProposeResult.NotLeader => RefuseAsFollower(_raft.Leader),
        ProposeResult.ChangeInProgress =>
            Refusal.MembershipRefused(Id, $"{change}", "another change is under way; retry later"),
        ProposeResult.InvalidChange => Refusal.MembershipRefused(
            Id,
            $"{change}",
            "the node is not what the change wants it to be (a member, a stranger, a learner that has caught up), or "
            + $"it is the last voter, or the group is full. Members: {_raft.Configuration}"),
        _ => Refusal.MembershipRefused(Id, $"{change}", "the leader is not ready yet; retry"),
    };

    /// <summary>Answers who waits for a change, when its fate is known.</summary>
    private void SettleChange()
    {
        if (_change is not { } change)
        {
            return;
        }

        if (_raft.Term != change.Term)
        {
            _change = null;
            change.Done.TrySetException(Refusal.OutcomeUnknown(Id));
        }
        else if (_raft.CommitIndex >= change.Index)
        {
            _change = null;
            change.Done.TrySetResult(change.Index);
        }
    }

    /// <summary>One step towards the desired voters. What Raft refuses now is tried again at the next look.</summary>
    private void ApproachDesiredVoters()
    {
        if (_raft.Role != RaftRole.Leader || _change is not null || _desiredVoters is not { } desired)
        {
            return;
        }

        if (NextChange(desired) is { } change
            && _raft.TryChangeConfiguration(change, out var index) == ProposeResult.Accepted)
        {
            ReplicationEvents.Changing(_logger, Id.Value, change.Kind, change.Node.Value, index.Value);
        }
    }

    private MembershipChange? NextChange(IReadOnlyList<NodeId> desired)
    {
        var members = _raft.Configuration;
        var followers = _raft.Followers;
        foreach (var follower in followers)
        {
            // Both lead to a learner that begins anew: a voter must not count until then.
            if (follower.IsLost && members.IsVoter(follower.NodeId))
            {
                return new MembershipChange(MembershipChangeKind.Remove, follower.NodeId);
            }

            if (follower.IsLost && desired.Contains(follower.NodeId))
            {
                return new MembershipChange(MembershipChangeKind.AddLearner, follower.NodeId);
            }
        }

        foreach (var follower in followers)
        {
            if (members.IsLearner(follower.NodeId) && follower.IsCaughtUp && desired.Contains(follower.NodeId))
            {
                return new MembershipChange(MembershipChangeKind.Promote, follower.NodeId);
            }
        }

        foreach (var node in desired)
        {
            if (!members.Contains(node))
            {
                return new MembershipChange(MembershipChangeKind.AddLearner, node);
            }
        }

        return null;
    }
}
