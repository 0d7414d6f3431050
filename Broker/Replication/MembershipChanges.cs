using Broker.Consensus;
using Broker.Domain;

namespace Broker.Replication;

/// <summary>Who should belong to a group.</summary>
/// <param name="Voters">The nodes whose majority decides.</param>
/// <param name="Learners">The nodes that receive the log and do not count, for as long as they are wanted so.</param>
public sealed record DesiredMembers(IReadOnlyList<NodeId> Voters, IReadOnlyList<NodeId> Learners);

/// <summary>
/// Who belongs to the group: changes that a caller asks for, and those that bring it to the desired members. One at a
/// time, by the leader alone (Raft thesis 4.1).
/// </summary>
internal sealed class MembershipChanges(IGroupLoop loop, ILogger logger)
{
    private volatile DesiredMembers? _desired;
    private PendingChange? _change;

    private sealed record PendingChange(
        LogIndex Index, Term Term, TaskCompletionSource<LogIndex> Done, bool IsRecovery = false);

    /// <summary>See <see cref="ReplicaGroup.DesiredMembers"/>. Any thread.</summary>
    public DesiredMembers? Desired
    {
        get => _desired;
        set => _desired = value;
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

    /// <summary>One step towards the desired members. What Raft refuses now is tried again at the next look.</summary>
    public void Approach()
    {
        if (loop.Raft.Role != RaftRole.Leader || _change is not null || _desired is not { } desired)
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

    private MembershipChange? NextChange(DesiredMembers desired)
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

            if (follower.IsLost && IsWanted(follower.NodeId, desired))
            {
                return new MembershipChange(MembershipChangeKind.AddLearner, follower.NodeId);
            }
        }

        foreach (var follower in followers)
        {
            if (members.IsLearner(follower.NodeId) && follower is { IsCaughtUp: true, IsHollow: false }
                && desired.Voters.Contains(follower.NodeId))
            {
                return new MembershipChange(MembershipChangeKind.Promote, follower.NodeId);
            }
        }

        if (NextOf(desired.Voters, members) is { } voter)
        {
            return voter;
        }

        // Those that are to come have come first, so that the group is at its strongest when one goes: a voter that
        // lives stays until all vote that are to and live. The leader itself goes when it leads no more. A voter that
        // is to receive the log only goes, and comes as a learner.
        var someStillCome = followers.Any(follower =>
            follower is { IsLearner: true, RecentlyActive: true } && desired.Voters.Contains(follower.NodeId));
        foreach (var follower in followers)
        {
            var isVoter = members.IsVoter(follower.NodeId);
            if (!(isVoter ? desired.Voters.Contains(follower.NodeId) : IsWanted(follower.NodeId, desired))
                && !(isVoter && someStillCome && follower.RecentlyActive))
            {
                return new MembershipChange(MembershipChangeKind.Remove, follower.NodeId);
            }
        }

        return NextOf(desired.Learners, members);
    }

    private static MembershipChange? NextOf(IReadOnlyList<NodeId> wanted, GroupConfiguration members)
    {
        foreach (var node in wanted)
        {
            if (!members.Contains(node))
            {
                return new MembershipChange(MembershipChangeKind.AddLearner, node);
            }
        }

        return null;
    }

    private static bool IsWanted(NodeId node, DesiredMembers desired) =>
        desired.Voters.Contains(node) || desired.Learners.Contains(node);
}
