using Broker.Diagnostics;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Tests.Unit.GrpcCalls;
using Broker.Transport;
using Grpc.Net.Client;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Broker.Tests.Unit.PeerStreams;

/// <summary>Transports that talk over loopback, each behind its own server and a proxy that can be cut.</summary>
internal sealed class TestNodes : IAsyncDisposable
{
    private static readonly BrokerMetrics Metrics = new();

    private readonly List<EchoServer> _servers = [];
    private readonly List<CuttableProxy> _proxies = [];
    private readonly List<PeerTransport> _transports = [];
    private readonly List<GrpcChannel> _channels = [];
    private readonly Timer _beat;

    private TestNodes(int count)
    {
        Gates = [.. Enumerable.Range(1, count).Select(node => new TestGate(node))];
        Services = [.. Enumerable.Range(0, count).Select(node => new TappedPeerService(() => _transports[node]))];
        _beat = new Timer(_ => _transports.ForEach(static transport => transport.Flush()));
    }

    /// <summary>Node 1 stands at 0.</summary>
    public IReadOnlyList<TestGate> Gates { get; }

    public IReadOnlyList<TappedPeerService> Services { get; }

    public IReadOnlyList<PeerTransport> Transports => _transports;

    public static async Task<TestNodes> StartAsync(int count, ILogger? logger = null)
    {
        var nodes = new TestNodes(count);
        foreach (var service in nodes.Services)
        {
            var at = nodes._servers.Count;
            var server = await EchoServer.StartAsync(
                options => options.MaxReceiveMessageSize = Limits.GrpcMessageBytes,
                register: services => services.AddSingleton(service).AddPeersPort(() => nodes._transports[at]),
                map: app => app.MapGrpcService<TappedPeerService>(),
                at: static (address, port) => new PeerEndPoint(address, port));
            nodes._servers.Add(server);
            nodes._proxies.Add(new CuttableProxy(new Uri(server.Address).Port));
        }

        List<PeerEndpoint> peers =
        [
            .. nodes._proxies.Select((proxy, at) => new PeerEndpoint(
                new NodeId(at + 1), $"broker-{at + 1}", new Uri($"http://127.0.0.1:{proxy.Port}"))),
        ];
        for (var at = 0; at < count; at++)
        {
            nodes._transports.Add(new PeerTransport(
                new NodeId(at + 1), peers, nodes.Gates[at], 64L * 1024 * 1024, Metrics, logger ?? NullLogger.Instance));
        }

        return nodes;
    }

    /// <summary>Opens the streams and waits for them.</summary>
    public async Task ConnectAsync()
    {
        // As the replication loop does; it keeps the streams alive.
        _beat.Change(TimeSpan.Zero, TimeSpan.FromMilliseconds(100));
        foreach (var transport in _transports)
        {
            transport.Start();
        }

        foreach (var (transport, at) in _transports.Select((transport, at) => (transport, at)))
        {
            for (var peer = 1; peer <= _transports.Count; peer++)
            {
                var node = new NodeId(peer);
                await EchoServer.UntilAsync(
                    () => peer == at + 1 || transport.IsConnected(node), $"node {at + 1} reaches node {peer}");
            }
        }
    }

    /// <summary>Resets every connection to a node.</summary>
    public void CutOff(int node) => _proxies[node - 1].Cut();

    /// <summary>Connects to a node as a peer does, before any word.</summary>
    internal PeerConnection DialRaw(int node) => new(
        PeerSocket.Connect(new Uri(_servers[node - 1].Address), EchoServer.Patience, CancellationToken.None),
        TimeProvider.System);

    /// <summary>Calls a node without a transport of one's own.</summary>
    public Peer.PeerClient Dial(int node)
    {
        var channel = GrpcChannel.ForAddress(_servers[node - 1].Address);
        _channels.Add(channel);
        return new Peer.PeerClient(channel);
    }

    public async ValueTask DisposeAsync()
    {
        await _beat.DisposeAsync();
        foreach (var gate in Gates)
        {
            gate.Hears.Set();
        }

        foreach (var channel in _channels)
        {
            channel.Dispose();
        }

        foreach (var transport in _transports)
        {
            await transport.DisposeAsync();
        }

        foreach (var proxy in _proxies)
        {
            await proxy.DisposeAsync();
        }

        foreach (var server in _servers)
        {
            await server.DisposeAsync();
        }
    }
}

internal static class PeersPortOfTests
{
    /// <summary>The listener that a node has at its peers' port.</summary>
    public static IServiceCollection AddPeersPort(this IServiceCollection services, Func<PeerTransport> transport) =>
        services.AddSingleton<IConnectionListenerFactory>(provider => new PeerListenerFactory(
            (socket, known) => transport().Accept(socket, known), provider.GetRequiredService<ILoggerFactory>()));
}
