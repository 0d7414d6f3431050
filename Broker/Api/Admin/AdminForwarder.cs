using Broker.Cluster;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Replication;
using Broker.Transport;
using Grpc.Core;

namespace Broker.Api;

/// <summary>Has the metadata group's leader carry out a change that reached another node.</summary>
internal sealed class AdminForwarder(BrokerNode node) : IDisposable
{
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(5);

    private static Metadata Forwarded => new() { { LeaderForwarder.ForwardedHeader, "1" } };

    private readonly PeerChannels _channels = new(watched: false);

    public static bool IsForwarded(ServerCallContext context) =>
        context.RequestHeaders.GetValue(LeaderForwarder.ForwardedHeader) is not null;

    /// <summary>Commits a change here when this node leads the group, else has the leader do it.</summary>
    /// <param name="group">The group.</param>
    /// <param name="command">Makes the change; the leader alone calls it.</param>
    /// <param name="forward">The same, asked of the leader.</param>
    /// <param name="request">What it is asked.</param>
    /// <param name="done">Makes the answer.</param>
    /// <param name="isForwarded">Another node takes this one for the leader: it is not passed on again.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="BrokerException">It is not done.</exception>
    /// <exception cref="RpcException">The leader's refusal.</exception>
    public async Task<TResponse> ChangeAsync<TRequest, TResponse>(
        GroupId group,
        Func<Task<ReadOnlyMemory<byte>>> command,
        Func<Admin.AdminClient, TRequest, CallOptions, AsyncUnaryCall<TResponse>> forward,
        TRequest request,
        Func<CommandResult, TResponse> done,
        bool isForwarded,
        CancellationToken cancellationToken)
    {
        var leader = await node.WaitForLeaderAsync(group, cancellationToken);
        return leader != node.Options.NodeId && !isForwarded
            ? await ForwardAsync(leader, forward, request, cancellationToken)
            : done(await node.ProposeAsync(group, await command(), cancellationToken));
    }

    public async Task<TResponse> ForwardAsync<TRequest, TResponse>(
        NodeId leader,
        Func<Admin.AdminClient, TRequest, CallOptions, AsyncUnaryCall<TResponse>> call,
        TRequest request,
        CancellationToken cancellationToken)
    {
        var options = new CallOptions(
            headers: Forwarded,
            deadline: DateTime.SpecifyKind(TimeProvider.System.GetUtcNow().UtcDateTime + Timeout, DateTimeKind.Utc),
            cancellationToken: cancellationToken);
        using var answer = call(ClientOf(leader), request, options);
        return await answer.ResponseAsync;
    }

    /// <summary>
    /// A topic, or by its name in its shard a partition, as its leader has applied it, with the id of that entry; null:
    /// it has none.
    /// </summary>
    public async Task<TopicDescription?> FindTopicAsync(
        NodeId leader, string topic, CancellationToken cancellationToken)
    {
        using var call = ClientOf(leader).ListTopicsAsync(
            new ListTopicsRequest { Filter = topic }, Forwarded, cancellationToken: cancellationToken);
        return (await call.ResponseAsync).Topics.FirstOrDefault();
    }

    private Admin.AdminClient ClientOf(NodeId leader) => new(_channels.To(
        node.Directory.Find(leader)?.Address ?? throw Refusal.NoLeader(GroupId.Metadata)));

    public void Dispose() => _channels.Dispose();
}
