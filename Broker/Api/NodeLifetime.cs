using Broker.Cluster;

namespace Broker.Api;

/// <summary>Starts the node before the endpoints open, and stops it after they have closed.</summary>
internal sealed class NodeLifetime(
    BrokerNode node, ConsumerGroupHost groups, IHostApplicationLifetime lifetime) : IHostedService
{
    public Task StartAsync(CancellationToken cancellationToken)
    {
        // The server waits for open calls when it stops, and a peer's stream never ends by itself.
        lifetime.ApplicationStopping.Register(node.BeginStop);
        node.Start();
        groups.Start();
        return Task.CompletedTask;
    }

    public async Task StopAsync(CancellationToken cancellationToken) => await node.DisposeAsync();
}
