using System.Collections.Concurrent;
using Broker.Api;
using Broker.Cluster;
using Broker.Consensus;
using Broker.Delivery;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Replication;
using Broker.Storage;
using Broker.Tests.Unit.GrpcCalls;
using Broker.Tests.Unit.PeerStreams;
using Broker.Tests.Unit.Topics;
using Broker.Transport;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting.Internal;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Broker.Tests.Unit.Cluster;

/// <summary>
/// A cluster of three whole nodes in one process: real threads, real files, real streams over loopback.
/// </summary>
internal sealed class RunningNodes : IAsyncDisposable
{
    private const int Count = 3;

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("broker-nodes-");
    private readonly List<EchoServer> _servers = [];
    private readonly List<BrokerMetrics> _metrics = [];
    private readonly List<ConsumerGroupHost> _groups = [];
    private readonly ConcurrentQueue<Exception> _fatal = new();

    private RunningNodes()
    {
    }

    public List<HangingDevice> Devices { get; } = [];

    /// <summary>Node 1 stands at 0.</summary>
    public List<BrokerNode> Nodes { get; } = [];

    /// <summary>What consumers ask of each node.</summary>
    public IReadOnlyList<IConsumerGroups> Groups => [.. _groups.Select(static groups => groups.Router)];

    /// <summary>The groups that hold topics.</summary>
    public IReadOnlyList<GroupId> Shards => [.. Nodes[0].DataShards.Select(static shard => shard.Group)];

    public static async Task<RunningNodes> StartAsync()
    {
        var running = new RunningNodes();
        for (var i = 0; i < Count; i++)
        {
            var at = i;
            running._servers.Add(await EchoServer.StartAsync(
                options => options.MaxReceiveMessageSize = Limits.GrpcMessageBytes,
                register: services => services
                    .AddSingleton(_ => new PeerService(running.Nodes[at].Transport))
                    .AddSingleton(_ => running._groups[at].Service)
                    .AddPeersPort(() => running.Nodes[at].Transport),
                map: app =>
                {
                    app.MapGrpcService<PeerService>();
                    app.MapGrpcService<GroupPeerService>();
                },
                at: static (address, port) => new PeerEndPoint(address, port)));
        }

        for (var i = 0; i < Count; i++)
        {
            running.Open(i + 1);
        }

        running.Nodes.ForEach(static node => node.Start());
        running._groups.ForEach(static groups => groups.Start());
        await EchoServer.UntilAsync(
            () => running.Nodes.TrueForAll(static node => node.ClusterId is not null)
                && running.Shards.All(shard => running.LeaderOf(shard) is not null),
            "the cluster forms");
        return running;
    }

    public BrokerNode? LeaderOf(GroupId group) => Nodes
        .Where(node => node.Group(group).Status.Role == RaftRole.Leader)
        .MaxBy(node => node.Group(group).Status.Term);

    /// <summary>Has whoever leads a group commit a command.</summary>
    public async Task<CommandResult> ProposeAsync(
        GroupId group, ReadOnlyMemory<byte> command, CancellationToken cancellationToken)
    {
        await EchoServer.UntilAsync(() => LeaderOf(group) is not null, $"group {group} has a leader");
        return await LeaderOf(group)!.ProposeAsync(group, command, cancellationToken);
    }

    /// <summary>A topic with a partition in each shard.</summary>
    public async Task MakeTopicAsync(string topic, CancellationToken cancellationToken)
    {
        var node = Nodes[0];
        var plan = new TopicMaker(node).Plan(node.TopicPolicies, topic, partitions: node.Shards.DataShards);
        await ProposeAsync(node.Shards.GroupOf(topic), plan.Command.WrittenMemory, cancellationToken);
    }

    /// <summary>As a client does: sends again, to whoever leads, until it is acknowledged.</summary>
    public Task PublishAsync(GroupId group, CancellationToken cancellationToken) =>
        PublishAsync(group, Entries.PublishCommand($"topic-{group}", new byte[100]), cancellationToken);

    /// <summary>The same with a command of the caller's.</summary>
    public async Task PublishAsync(GroupId group, byte[] command, CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                if (LeaderOf(group) is { } leader)
                {
                    await leader.ProposeAsync(group, command, cancellationToken);
                    return;
                }
            }
            catch (BrokerException)
            {
                // Another one leads by now.
            }

            await Task.Delay(10, cancellationToken);
        }
    }

    public async ValueTask DisposeAsync()
    {
        Devices.ForEach(static device => device.Mend());
        foreach (var node in Nodes)
        {
            node.BeginStop();
            await node.DisposeAsync();
        }

        foreach (var groups in _groups)
        {
            await groups.DisposeAsync();
        }

        foreach (var server in _servers)
        {
            await server.DisposeAsync();
        }

        Devices.ForEach(static device => device.Dispose());
        _metrics.ForEach(static metrics => metrics.Dispose());
        _folder.Delete(recursive: true);
        Assert.Empty(_fatal);
    }

    private void Open(int number)
    {
        var name = $"broker-{number}";
        var options = new ClusterOptions
        {
            NodeName = name,
            NodeId = new NodeId(number),
            DataDirectory = Path.Combine(_folder.FullName, name),
            Nodes =
            [
                .. _servers.Select(static (server, at) =>
                    new PeerEndpoint(new NodeId(at + 1), $"broker-{at + 1}", new Uri(server.Address))),
            ],
        };
        var (tail, news) = (new TailSignal(), new GroupNews());
        Devices.Add(new HangingDevice(new PhysicalDevice()));
        _metrics.Add(new BrokerMetrics());
        Nodes.Add(new BrokerNode(
            options,
            group => new ShardDelivery(group, tail, null, news.Of(group)),
            static _ => { },
            Devices[^1],
            TimeProvider.System,
            _metrics[^1],
            NullLoggerFactory.Instance,
            _fatal.Enqueue));
        _groups.Add(new ConsumerGroupHost(
            Nodes[^1],
            news,
            tail,
            MakeTopicAsync,
            new ApplicationLifetime(NullLogger<ApplicationLifetime>.Instance),
            _metrics[^1].ConsumerGroups,
            TimeProvider.System,
            NullLoggerFactory.Instance));
    }
}
