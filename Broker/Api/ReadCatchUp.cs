using Broker.Cluster;
using Broker.Consensus;
using Broker.Delivery;
using Broker.Domain;
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
    public async Task WaitAsync(GroupId group, string topic, long offset, CancellationToken cancellationToken)
    {
        if (Has(group, topic, offset + 1) || node.Group(group).Status.Role == RaftRole.Leader)
        {
            return;
        }

        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(Patience);
        long? end;
        try
        {
            var leader = await node.WaitForLeaderAsync(group, patience.Token);
            end = leader == node.Options.NodeId ? null : await leaders.EndOfAsync(leader, topic, patience.Token);
        }
        catch (Exception e) when (e is RpcException or BrokerException or OperationCanceledException)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (Has(group, topic, offset))
            {
                return;  // The offset is the next one here: whoever reads on from the end is not to wait for a leader.
            }

            throw Refusal.CannotTell(topic, offset, group);
        }

        if (end is { } known)
        {
            await WaitForAsync(group, topic, Math.Min(known, offset + 1), patience.Token, cancellationToken);
        }
    }

    private async Task WaitForAsync(
        GroupId group, string topic, long end, CancellationToken patience, CancellationToken cancellationToken)
    {
        // The place is taken before the look, so nothing falls between the look and the wait.
        using var waiter = tail.Register(topic);
        try
        {
            while (!Has(group, topic, end))
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

    private bool Has(GroupId group, string topic, long end) =>
        node.TopicsOf(group).TryGetTopic(topic, out var view) && view.NextOffset >= end;
}
