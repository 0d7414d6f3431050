using Broker.Cluster;
using Broker.Domain;
using Broker.Protocol.V1;
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

    public async Task<TResponse> ForwardAsync<TRequest, TResponse>(
        NodeId leader,
        Func<Admin.AdminClient, TRequest, CallOptions, AsyncUnaryCall<TResponse>> call,
        TRequest request,
        ServerCallContext context)
    {
        var options = new CallOptions(
            headers: Forwarded,
            deadline: DateTime.SpecifyKind(TimeProvider.System.GetUtcNow().UtcDateTime + Timeout, DateTimeKind.Utc),
            cancellationToken: context.CancellationToken);
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
