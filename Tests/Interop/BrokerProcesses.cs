using Broker.Api;
using Broker.Client;
using Broker.Cluster;
using Grpc.Net.Client;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;

namespace Broker.Tests.Interop;

/// <summary>Real nodes in this process, each with its endpoints and its folder; one cluster.</summary>
internal sealed class BrokerProcesses : IAsyncDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("broker-nodes-");
    private readonly List<WebApplication> _nodes = [];
    private readonly List<GrpcChannel> _channels = [];

    private BrokerProcesses()
    {
    }

    /// <summary>A connection to each node, as a foreign client would make it: with gRPC's own limits.</summary>
    public IReadOnlyList<GrpcChannel> Channels => _channels;

    /// <param name="nodes">How many.</param>
    /// <param name="settings">Settings of a node, from 0, beside those that it needs.</param>
    public static async Task<BrokerProcesses> StartAsync(int nodes, Func<int, string[]>? settings = null)
    {
        var started = new BrokerProcesses();
        var ports = FreePorts.Take(nodes);
        var peerPorts = FreePorts.Take(nodes);
        foreach (var (i, port) in ports.Index())
        {
            var node = BrokerHost.Build([
                $"--Broker:NodeName=broker-{i + 1}",
                $"--Broker:ClusterSize={nodes}",
                $"--Broker:GrpcPort={port}",
                $"--Broker:PeerPort={peerPorts[i]}",
                $"--Broker:DataDirectory={Path.Combine(started._folder.FullName, $"{i + 1}")}",
                "--urls=http://127.0.0.1:0",
                "--Logging:LogLevel:Default=Warning",
                .. settings?.Invoke(i) ?? [],
                .. ports.Select((each, at) => $"--services:broker-{at + 1}:grpc:0=http://localhost:{each}"),
                .. peerPorts.Select((each, at) => $"--services:broker-{at + 1}:peer:0=http://localhost:{each}"),
            ]);
            await node.StartAsync();
            started._nodes.Add(node);
            started._channels.Add(GrpcChannel.ForAddress($"http://localhost:{port}"));
        }

        await Eventually.HoldsAsync(
            () => started._nodes.TrueForAll(node => node.Services.GetRequiredService<BrokerNode>().Groups.All(
                group => !group.Status.Leader.IsNone)),
            "every node knows every leader",
            60);
        return started;
    }

    public BrokerClient Connect() => new(new BrokerClientOptions
    {
        Addresses = [.. _channels.Select(channel => new Uri($"http://{channel.Target}"))],
        PublishTimeout = TimeSpan.FromMinutes(3),
    });

    /// <summary>Ends a node as after SIGTERM.</summary>
    public Task StopAsync(int node) => _nodes[node].StopAsync();

    public async ValueTask DisposeAsync()
    {
        _channels.ForEach(channel => channel.Dispose());
        await Task.WhenAll(_nodes.Select(async node =>
        {
            await node.StopAsync();
            await node.DisposeAsync();
        }));
        _folder.Delete(recursive: true);
    }
}
