using Broker.Consensus;
using Broker.Domain;

namespace Broker.Replication;

/// <summary>
/// Who belongs to the group: changes that a caller asks for, and those that bring it to the desired voters. One at a
/// time, by the leader alone (Raft thesis 4.1).
/// </summary>
internal sealed class MembershipChanges(IGroupLoop loop, ILogger logger)
{
    private volatile IReadOnlyList<NodeId>? _desiredVoters;
    private PendingChange? _change;

    private sealed record PendingChange(
        LogIndex Index, Term Term, TaskCompletionSource<LogIndex> Done, bool IsRecovery = false);

    /// <summary>See <see cref="ReplicaGroup.DesiredVoters"/>. Any thread.</summary>
    public IReadOnlyList<NodeId>? DesiredVoters
    {
        get => _desiredVoters;
        set => _desiredVoters = value;
    }

    /// <summary>See <see cref="ReplicaGroup.ChangeConfigurationAsync"/>. Any thread.</summary>
    public Task<LogIndex> AskAsync(MembershipChange change, CancellationToken cancellationToken)
    {
        var done = new TaskCompletionSource<LogIndex>(TaskCreationOptions.RunContinuationsAsynchronously);
        loop.Resume(() => Start(change, done));
        return done.Task.WaitAsync(cancellationToken);
    }

    /// <summary>See <see cref="ReplicaGroup.ForceRecoveryAsync"/>. Any thread.</summary>
    public Task<LogIndex> RecoverAsync(
        IReadOnlyCollection<NodeId> others, Term above, CancellationToken cancellationToken)
    {
        var done = new TaskCompletionSource<LogIndex>(TaskCreationOptions.RunContinuationsAsynchronously);
        loop.Resume(() => Recover(others, above, done));
        return done.Task.WaitAsync(cancellationToken);
    }

    /// <summary>Answers who waits for a change, when its fate is known.</summary>
    public void Settle()
    {
        if (_change is not { } change)
        {
            return;
        }

        if (change.IsRecovery && loop.Raft.Term == change.Term && loop.Raft.Role == RaftRole.Follower)
        {
            _change = null;
            change.Done.TrySetException(Refusal.MembershipRefused(
                loop.Id,
                "The recovery",
                "not all of the others have given up their votes: one did not answer in time, hears a leader, or has "
                + "what this replica lacks. Look at the shard again, and repeat it"));
            return;
        }

        if (loop.Raft.Term != change.Term)
        {
            _change = null;
            change.Done.TrySetException(Refusal.OutcomeUnknown(loop.Id));
        }
        else if (loop.Raft.CommitIndex >= change.Index)
        {
            _change = null;
            change.Done.TrySetResult(change.Index);
        }
    }

    /// <summary>One step towards the desired voters. What Raft refuses now is tried again at the next look.</summary>
    public void Approach()
    {
        if (loop.Raft.Role != RaftRole.Leader || _change is not null || _desiredVoters is not { } desired)
        {
            return;
        }

        if (NextChange(desired) is { } change
            && loop.Raft.TryChangeConfiguration(change, out var index) == ProposeResult.Accepted)
        {
            ReplicationEvents.Changing(logger, loop.Id.Value, change.Kind, change.Node.Value, index.Value);
        }
    }

    private void Start(MembershipChange change, TaskCompletionSource<LogIndex> done)
    {
        if (_change is not null)
        {
            done.SetException(WhyNot(change, ProposeResult.ChangeInProgress));
            return;
        }

        var result = loop.Raft.TryChangeConfiguration(change, out var index);
        if (result != ProposeResult.Accepted)
        {
            done.SetException(WhyNot(change, result));
            return;
        }

        _change = new PendingChange(index, loop.Raft.Term, done);
        ReplicationEvents.Changing(logger, loop.Id.Value, change.Kind, change.Node.Value, index.Value);
    }

    private void Recover(IReadOnlyCollection<NodeId> others, Term above, TaskCompletionSource<LogIndex> done)
    {
        if (_change is not null || !loop.Raft.TryForceRecovery(others, above))
        {
            done.SetException(Refusal.MembershipRefused(
                loop.Id,
                "The recovery",
                "this replica hears a leader, gives no votes itself, is no voter, or leaves out too many voters"));
            return;
        }

        _change = new PendingChange(loop.Raft.LastIndex.Next(), loop.Raft.Term, done, IsRecovery: true);
        ReplicationEvents.Recovering(
            logger, loop.Id.Value, loop.Raft.Term.Value, _change.Index.Value, string.Join(", ", others));
    }

    private BrokerException WhyNot(MembershipChange change, ProposeResult result) => result switch
    {
        ProposeResult.NotLeader => loop.RefuseAsFollower(loop.Raft.Leader),
        ProposeResult.ChangeInProgress =>
            Refusal.MembershipRefused(loop.Id, $"{change}", "another change is under way; retry later"),
        ProposeResult.InvalidChange => Refusal.MembershipRefused(
            loop.Id,
            $"{change}",
            "the node is not what the change wants it to be (a member, a stranger, a learner that has caught up), or "
            + $"it is the last voter, or the group is full. Members: {loop.Raft.Configuration}"),
        _ => Refusal.MembershipRefused(loop.Id, $"{change}", "the leader is not ready yet; retry"),
    };

    private MembershipChange? NextChange(IReadOnlyList<NodeId> desired)
    {
        var members = loop.Raft.Configuration;
        var followers = loop.Raft.Followers;
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

        // Those that are to come have come first, so that the group is at its strongest when one goes. The leader
        // itself goes when it leads no more.
        foreach (var follower in followers)
        {
            if (!desired.Contains(follower.NodeId))
            {
                return new MembershipChange(MembershipChangeKind.Remove, follower.NodeId);
            }
        }

        return null;
    }
}
