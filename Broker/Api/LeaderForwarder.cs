using System.Collections.Concurrent;
using Broker.Cluster;
using Broker.Domain;

namespace Broker.Api;

/// <summary>Brings publishes that reached a follower to the leader, over one stream per node.</summary>
internal sealed class LeaderForwarder(BrokerNode node, TimeProvider time, ILogger<LeaderForwarder> logger)
    : IAsyncDisposable
{
    /// <summary>Marks the stream so that the leader's node does not forward again.</summary>
    public const string ForwardedHeader = "broker-forwarded";

    private readonly ConcurrentDictionary<NodeId, Lazy<ForwardStream>> _streams = new();

    private readonly ForwardedCalls _calls = new(
        Limits.ForwardedBytes,
        group => node.Group(group).Status,
        (group, seen, cancellationToken) => node.Group(group).WaitForChangeAsync(seen, cancellationToken),
        time);

    /// <summary>Counts a publish that this node does not lead; false: it was refused, as too much is held.</summary>
    public bool TryHold(PublishCall call) => call.TryBeHeldBy(_calls);

    /// <summary>Sends a publish that is held.</summary>
    public void Forward(NodeId leader, PublishCall call)
    {
        _calls.Sending(call, leader);
        var stream = _streams.GetOrAdd(leader, id => new Lazy<ForwardStream>(() =>
            new ForwardStream(node.Options.Nodes.First(known => known.Node == id), logger)));
        stream.Value.Send(call);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var stream in _streams.Values)
        {
            await stream.Value.DisposeAsync();
        }

        await _calls.DisposeAsync();
    }
}
