using Broker.Domain;
using Broker.Replication;
using Grpc.Core;

namespace Broker.Cluster;

/// <summary>
/// Linearizable reads at any node (Raft thesis 6.4): the node learns from the group's leader how far the group was when
/// the read came, and waits until its own replica has applied that. A leader that was replaced and does not know it
/// finds no majority, and answers nothing. When leadership moves meanwhile, the new leader is asked.
/// </summary>
internal sealed class ReadIndexes(BrokerNode node, TimeProvider time)
{
    /// <summary>An election in which the old leader and the new one are asked.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(Limits.LinearizableReadMs);

    private static readonly TimeSpan RetryInterval = TimeSpan.FromMilliseconds(20);

    /// <exception cref="BrokerException">
    /// NoLeader: nobody leads, or nobody could say in time. FailedPrecondition: this replica did not get there in time.
    /// QuorumLost: nobody can lead. Overloaded: too many reads wait.
    /// </exception>
    public async Task CatchUpAsync(GroupId id, CancellationToken cancellationToken)
    {
        var group = node.Group(id);
        using var tooLate = new CancellationTokenSource(Patience, time);
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, tooLate.Token);
        LogIndex? index = null;
        try
        {
            while (index is null)
            {
                var leader = await node.WaitForLeaderAsync(id, patience.Token);
                index = await TryAskAsync(group, leader, patience.Token);
                if (index is null)
                {
                    await Task.Delay(RetryInterval, time, patience.Token);
                }
            }

            await group.WaitForAppliedAsync(index.Value, patience.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw index is null ? Refusal.NoLeader(id) : Refusal.ReplicaLags(id, index.Value);
        }
    }

    /// <summary>Null: it does not lead any more, or does not answer.</summary>
    private async Task<LogIndex?> TryAskAsync(ReplicaGroup group, NodeId leader, CancellationToken cancellationToken)
    {
        using var moved = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var asking = AskAsync(group, leader, moved.Token);

        // A leader that hangs keeps the question; who leads after it answers.
        if (await Task.WhenAny(asking, UntilMovedAsync(group, leader, moved.Token)) == asking)
        {
            await moved.CancelAsync();
            return await asking;
        }

        await moved.CancelAsync();
        cancellationToken.ThrowIfCancellationRequested();
        return null;
    }

    private async Task<LogIndex?> AskAsync(ReplicaGroup group, NodeId leader, CancellationToken cancellationToken)
    {
        try
        {
            if (leader == node.Options.NodeId)
            {
                return await group.ReadIndexAsync(cancellationToken);
            }

            if (node.Directory.Find(leader) is not { } peer)
            {
                return null;
            }

            var answer = await node.Transport.ReadIndexAtAsync(peer.Address, group.Id, cancellationToken);
            return answer.Code == 0
                ? new LogIndex(answer.Index)
                : throw Refusal.ByPeer((RefusalCode)answer.Code, answer.Message);
        }
        catch (BrokerException refusal) when (refusal.Code is RefusalCode.NotLeader or RefusalCode.NoLeader)
        {
            return null;
        }
        catch (RpcException)
        {
            cancellationToken.ThrowIfCancellationRequested();
            return null;
        }
    }

    private static async Task UntilMovedAsync(ReplicaGroup group, NodeId leader, CancellationToken cancellationToken)
    {
        while (group.Status is var seen && seen.Leader == leader)
        {
            await group.WaitForChangeAsync(seen, cancellationToken);
        }
    }
}
