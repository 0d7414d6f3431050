using Broker.Protocol.V1;
using Grpc.Core;

namespace Broker.Client;

public sealed partial class BrokerClient
{
    /// <summary>
    /// Takes a node into the cluster that waits for that at an address (Broker__Join). What was begun goes on by
    /// itself: DescribeClusterAsync shows how far it is. Adding a member again succeeds, and learns its new address.
    /// </summary>
    /// <param name="name">The name that the node was started with, 1 to 255 bytes.</param>
    /// <param name="address">Base address of its gRPC endpoint, e.g. "http://localhost:7004".</param>
    /// <param name="cancellationToken">Ends the waiting; the node may be taken in all the same.</param>
    /// <returns>The node's number, from now on.</returns>
    /// <exception cref="BrokerClientException">
    /// InvalidArgument: a bad name or address. FailedPrecondition: another change is under way, or the node is another
    /// one, belongs to another cluster, or does not wait to be taken in. ResourceExhausted: 32 members already.
    /// Unavailable: the node does not answer there, or no leader, for OperationTimeout.
    /// </exception>
    public async ValueTask<int> AddNodeAsync(string name, Uri address, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(name);
        ArgumentNullException.ThrowIfNull(address);
        var request = new AddNodeRequest { Name = name, Address = address.ToString() };
        var response = await CallAnyAsync(
            $"Adding node '{name}'", (c, o) => c.Admin.AddNodeAsync(request, Patient(o)), cancellationToken);
        return (int)response.NodeId;
    }

    /// <summary>
    /// Takes a node out of the cluster, alive or dead: its leaderships are moved, then it leaves one shard after
    /// another. What was begun goes on by itself; asking again waits for it. Removing one that is no member succeeds.
    /// </summary>
    /// <param name="nodeId">The node's number.</param>
    /// <param name="cancellationToken">Ends the waiting; the node leaves all the same.</param>
    /// <returns>Completes when it has left every shard.</returns>
    /// <exception cref="BrokerClientException">
    /// InvalidArgument: not above 0. FailedPrecondition: another change is under way, it is the last member, or without
    /// it a shard would have no majority of live nodes. Unavailable: it has not left within OperationTimeout.
    /// </exception>
    public async ValueTask RemoveNodeAsync(int nodeId, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(nodeId, 1);
        var request = new RemoveNodeRequest { NodeId = (uint)nodeId };
        await CallAnyAsync(
            $"Removing node {nodeId}", (c, o) => c.Admin.RemoveNodeAsync(request, Patient(o)), cancellationToken);
    }

    /// <summary>
    /// Prepares a node for a stop: from now on it leads no shard, and what it leads moves to others, while publishes go
    /// on. It drains, also after a restart, until <see cref="UndrainNodeAsync"/>.
    /// </summary>
    /// <param name="nodeId">The node's number.</param>
    /// <param name="cancellationToken">Ends the waiting; the node drains all the same.</param>
    /// <returns>
    /// Completes when it leads nothing, or after 20 s with the shards that nobody else could take yet.
    /// </returns>
    /// <exception cref="BrokerClientException">
    /// NotFound: no such member. FailedPrecondition: no other member could lead. Unavailable: no leader for
    /// OperationTimeout.
    /// </exception>
    public async ValueTask<IReadOnlyList<int>> DrainNodeAsync(
        int nodeId, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(nodeId, 1);
        var request = new DrainNodeRequest { NodeId = (uint)nodeId };
        var response = await CallAnyAsync(
            $"Draining node {nodeId}", (c, o) => c.Admin.DrainNodeAsync(request, Patient(o)), cancellationToken);
        return [.. response.ShardsLeft.Select(static shard => (int)shard)];
    }

    /// <summary>A node that drains may lead again; one that does not is left as it is.</summary>
    /// <param name="nodeId">The node's number.</param>
    /// <param name="cancellationToken">Ends the waiting; the node may lead again all the same.</param>
    /// <returns>Completes when that is replicated.</returns>
    /// <exception cref="BrokerClientException">
    /// NotFound: no such member. Unavailable: no leader for OperationTimeout.
    /// </exception>
    public async ValueTask UndrainNodeAsync(int nodeId, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(nodeId, 1);
        var request = new UndrainNodeRequest { NodeId = (uint)nodeId };
        await CallAnyAsync(
            $"Undraining node {nodeId}", (c, o) => c.Admin.UndrainNodeAsync(request, Patient(o)), cancellationToken);
    }

    /// <summary>
    /// Says how many data nodes vote in each shard for topics; the others receive its log and serve its topics as
    /// before. The cluster chooses which, evenly, one shard after another: DescribeClusterAsync shows how far it is.
    /// </summary>
    /// <param name="count">3 to 32, better an odd number; 0: all data nodes, as in a new cluster.</param>
    /// <param name="cancellationToken">Ends the waiting; it may be set all the same.</param>
    /// <returns>Completes when the number is replicated; the shards follow by themselves.</returns>
    /// <exception cref="BrokerClientException">
    /// InvalidArgument: 1, 2, or above 32. Unavailable: no leader for OperationTimeout, or the cluster has not formed
    /// yet.
    /// </exception>
    public ValueTask SetShardVotersAsync(int count, CancellationToken cancellationToken = default) =>
        SetVotersAsync(count, onlyVotersKeepRecords: false, cancellationToken);

    /// <summary>
    /// As <see cref="SetShardVotersAsync"/>, and only the nodes that vote in a shard keep its records, so each record
    /// has so many copies. The others keep the shard's state and answer all calls; what they do not keep they read from
    /// a voter. Before a node comes to vote in a shard it fetches what it lacks.
    /// </summary>
    /// <param name="count">
    /// 3 to 32, better an odd number. SetShardVotersAsync has all data nodes keep all again.
    /// </param>
    /// <param name="cancellationToken">Ends the waiting; it may be set all the same.</param>
    /// <returns>Completes when the number is replicated; the shards follow by themselves.</returns>
    /// <exception cref="BrokerClientException">
    /// InvalidArgument: below 3, or above 32. Unavailable: no leader for OperationTimeout, or the cluster has not
    /// formed yet.
    /// </exception>
    public ValueTask SetShardReplicasAsync(int count, CancellationToken cancellationToken = default) =>
        SetVotersAsync(count, onlyVotersKeepRecords: true, cancellationToken);

    private async ValueTask SetVotersAsync(
        int count, bool onlyVotersKeepRecords, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        var request = new SetShardVotersRequest
        {
            Count = (uint)count,
            OnlyVotersKeepRecords = onlyVotersKeepRecords,
        };
        await CallAnyAsync(
            $"Setting the {(onlyVotersKeepRecords ? "replicas" : "voters")} of each shard to {count}",
            (c, o) => c.Admin.SetShardVotersAsync(request, Patient(o)),
            cancellationToken);
    }

    /// <summary>
    /// Moves a shard's leadership to another of its voters, where it stays: while that node is away another one leads.
    /// Publishes wait for some milliseconds meanwhile.
    /// </summary>
    /// <param name="shard">Its number; 0 is the one of the cluster's metadata.</param>
    /// <param name="toNode">The node that is to lead. 0: whichever has caught up furthest.</param>
    /// <param name="cancellationToken">Ends the waiting; leadership may move all the same.</param>
    /// <returns>The node that leads now.</returns>
    /// <exception cref="BrokerClientException">
    /// NotFound: no such shard. FailedPrecondition: the node is no voter of it, is not connected, cannot write, or did
    /// not catch up in time. Unavailable: no leader for OperationTimeout.
    /// </exception>
    public async ValueTask<int> TransferLeadershipAsync(
        int shard, int toNode = 0, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(shard);
        ArgumentOutOfRangeException.ThrowIfNegative(toNode);
        var request = new TransferLeadershipRequest { Shard = (uint)shard, ToNode = (uint)toNode };
        var response = await CallAnyAsync(
            $"Moving the leadership of shard {shard}",
            (c, o) => c.Admin.TransferLeadershipAsync(request, Patient(o)),
            cancellationToken);
        return (int)response.Leader;
    }

    /// <summary>Such a change takes its time; a broker that dies ends the call by itself.</summary>
    private CallOptions Patient(CallOptions options) =>
        options.WithDeadline((_time.GetUtcNow() + _options.OperationTimeout).UtcDateTime);
}
