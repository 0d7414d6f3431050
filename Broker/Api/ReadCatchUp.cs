using Broker.Cluster;
using Broker.Consensus;
using Broker.Delivery;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Topics;
using Grpc.Core;

namespace Broker.Api;

/// <summary>
/// A follower applies a moment after its leader has acknowledged. So before it says that it has nothing at an offset,
/// or no such topic, it asks the leader how far the topic is, and waits until it has as much itself.
/// </summary>
internal sealed class ReadCatchUp(BrokerNode node, TailSignal tail, AdminForwarder leaders)
{
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(Limits.ReadCatchUpMs);

    /// <summary>Ends when this node has the offset, or as much of the topic as its leader.</summary>
    /// <exception cref="BrokerException">
    /// FailedPrecondition: this replica lags too far behind. NoLeader: nobody can say whether there is such a topic.
    /// </exception>
    public Task WaitAsync(GroupId group, string topic, long offset, CancellationToken cancellationToken) =>
        Has(group, topic, null, offset + 1)
            ? Task.CompletedTask
            : WaitForLeadersAsync(group, topic, offset, cancellationToken);

    /// <summary>
    /// Whether what this replica has may be said to be all: not when it has lost something, and no leader knows better.
    /// Null: it may. Else what to answer.
    /// </summary>
    public BrokerException? WhyNotAll(GroupId group) =>
        node.Group(group).Status.Leader.IsNone ? WhyNobodyTells(group) : null;

    /// <summary>Ends when this node has as much of the topic as its leader had when it was asked.</summary>
    /// <exception cref="BrokerException">As above.</exception>
    public Task WaitForEndAsync(GroupId group, string topic, CancellationToken cancellationToken) =>
        WaitForLeadersAsync(group, topic, long.MaxValue - 1, cancellationToken);

    /// <summary>
    /// Ends when this node has all that was acknowledged in these shards before the call, so that its end is no earlier
    /// than theirs. Where nobody leads, nobody can say more, and what is here is all: whoever begins at the end misses
    /// nothing then, but may get what was acknowledged shortly before.
    /// </summary>
    /// <exception cref="BrokerException">
    /// FailedPrecondition: this replica lags too far behind. Overloaded: too many such reads wait.
    /// </exception>
    public Task TryReachEndAsync(IEnumerable<GroupId> shards, CancellationToken cancellationToken) =>
        Task.WhenAll(shards.Select(shard => TryReachEndAsync(shard, cancellationToken)));

    private async Task TryReachEndAsync(GroupId shard, CancellationToken cancellationToken)
    {
        try
        {
            await node.CatchUpAsync(shard, cancellationToken);
        }
        catch (BrokerException refusal) when (refusal.Code is RefusalCode.NoLeader or RefusalCode.QuorumLost)
        {
            // Nobody knows more at the moment.
        }
    }

    private async Task WaitForLeadersAsync(
        GroupId group, string topic, long offset, CancellationToken cancellationToken)
    {
        if (node.Group(group).Status.Role == RaftRole.Leader)
        {
            return;
        }

        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(Patience);
        TopicDescription? found;
        try
        {
            var leader = await node.WaitForLeaderAsync(group, patience.Token);
            found = leader == node.Options.NodeId ? null : await leaders.FindTopicAsync(leader, topic, patience.Token);
        }
        catch (Exception e) when (e is RpcException or BrokerException or OperationCanceledException)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (Has(group, topic, null, offset))
            {
                return;  // The offset is the next one here: whoever reads on from the end is not to wait for a leader.
            }

            throw WhyNobodyTells(group) ?? Refusal.CannotTell(topic, offset, group);
        }

        if (found is not null)
        {
            var end = Math.Min(found.NextOffset, offset + 1);
            await WaitForAsync(group, topic, new TopicId(found.TopicId), end, patience.Token, cancellationToken);
        }
    }

    private BrokerException? WhyNobodyTells(GroupId group)
    {
        if (node.QuorumLossOf(group) is { } loss)
        {
            return Refusal.QuorumLost(loss.What);
        }

        var condition = node.Group(group).Status.Condition;
        return condition.IsLost || condition.IsPassive || condition.IsFenced
            ? Refusal.FailedPrecondition(
                $"This replica of shard {group} has lost a part of its log, and has not got it back; read from another "
                + "replica.")
            : null;
    }

    private async Task WaitForAsync(
        GroupId group,
        string topic,
        TopicId id,
        long end,
        CancellationToken patience,
        CancellationToken cancellationToken)
    {
        // The place is taken before the look, so nothing falls between the look and the wait.
        using var waiter = tail.Register(topic);
        try
        {
            while (!Has(group, topic, id, end))
            {
                await waiter.WaitAsync(patience);
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw Refusal.FailedPrecondition(
                $"This replica does not have topic '{topic}' up to offset {end} yet; read it from another replica.");
        }
    }

    private bool Has(GroupId group, string topic, TopicId? id, long end)
    {
        if (!node.TopicsOf(group).TryGetTopic(topic, out var view))
        {
            return false;
        }

        // One of another number is older, and this replica lags; or it is newer, and the leader's is deleted by now.
        return id is { } wanted && view.Number != wanted.Number ? view.Number > wanted.Number : view.NextOffset >= end;
    }
}
