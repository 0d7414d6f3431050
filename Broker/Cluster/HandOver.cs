using Broker.Consensus;
using Broker.Domain;
using Broker.Replication;

namespace Broker.Cluster;

/// <summary>Has another node lead a group that this one leads, when an operator says so.</summary>
internal sealed class HandOver(NodeId self, IReadOnlyList<ReplicaGroup> groups)
{
    /// <summary>
    /// How long a hand-over may take: the catching up, which is given up after the shortest election timeout, and an
    /// election, which may have to be repeated.
    /// </summary>
    private static readonly TimeSpan HandOverWait = TimeSpan.FromSeconds(3);

    /// <summary>Moves leadership of a group that this node leads; answers who leads then, and in which term.</summary>
    public async Task<(NodeId Leader, Term Term)> MoveAsync(
        GroupId id, NodeId to, CancellationToken cancellationToken)
    {
        var group = groups[id.Value];
        var before = group.Status;
        if (before.Role != RaftRole.Leader)
        {
            throw before.Leader.IsNone ? Refusal.NoLeader(id) : Refusal.NotLeader(id, before.Leader);
        }

        if (to == self)
        {
            return (to, before.Term);
        }

        if (!to.IsNone && !before.Condition.Configuration.IsVoter(to))
        {
            throw Refusal.FailedPrecondition(
                $"Node {to} is no voter of shard {id}, so it cannot lead it. Voters: "
                + $"{string.Join(", ", before.Condition.Configuration.Voters)}.");
        }

        var heir = await group.BeginTransferAsync(to);
        if (heir.IsNone)
        {
            throw Refusal.FailedPrecondition(
                $"{(to.IsNone ? "No other node" : $"Node {to}")} can lead shard {id} now: it is not connected, cannot "
                + "write, drains, or leadership moves already. Nothing was changed; try again when it is well.");
        }

        return await AwaitHeirAsync(group, heir, before.Term, cancellationToken);
    }

    private async Task<(NodeId Leader, Term Term)> AwaitHeirAsync(
        ReplicaGroup group, NodeId heir, Term before, CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(HandOverWait);
        while (true)
        {
            var status = group.Status;
            if (status.Term > before && !status.Leader.IsNone)
            {
                return status.Leader == heir
                    ? (heir, status.Term)
                    : throw Refusal.FailedPrecondition(
                        $"Node {status.Leader} was elected for shard {group.Id}, not node {heir}. Try again.");
            }

            try
            {
                await group.WaitForChangeAsync(status, patience.Token);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                throw group.Status is { Role: RaftRole.Leader } still && still.Term == before
                    ? Refusal.FailedPrecondition(
                        $"Node {heir} did not catch up with shard {group.Id} in time: node {self} goes on "
                        + "leading it. Try again when less is published.")
                    : Refusal.NoLeader(group.Id);
            }
        }
    }
}
