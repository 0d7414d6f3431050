using Broker.Cluster;
using Broker.Delivery;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Storage;
using Broker.Transport;
using Microsoft.Extensions.Logging.Abstractions;

namespace Broker.Tests.Unit.Cluster;

/// <summary>
/// A real node number 1 with one data shard, real threads and a folder of its own, to which nobody can connect. Alone
/// in its cluster unless others are named. It is not started.
/// </summary>
internal sealed class LoneNode : IAsyncDisposable
{
    private static readonly NodeId Number1 = new(1);

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("broker-lone-");

    public LoneNode(Action<Exception> onFatal, params PeerEndpoint[] others) => Node = new BrokerNode(
        new ClusterOptions
        {
            NodeName = "broker-1",
            NodeId = Number1,
            DataDirectory = _folder.FullName,
            Nodes = [new PeerEndpoint(Number1, "broker-1", new Uri("http://127.0.0.1:1")), .. others],
            DataShards = 1,
        },
        static group => new ShardDelivery(group, new TailSignal(), null),
        static _ => { },
        new PhysicalDevice(),
        TimeProvider.System,
        Metrics,
        NullLoggerFactory.Instance,
        onFatal);

    public BrokerMetrics Metrics { get; } = new();

    public BrokerNode Node { get; }

    /// <summary>Stops the node, if it was not, and deletes its folder.</summary>
    public async ValueTask DisposeAsync()
    {
        await Node.DisposeAsync();
        Metrics.Dispose();
        _folder.Delete(recursive: true);
    }
}
