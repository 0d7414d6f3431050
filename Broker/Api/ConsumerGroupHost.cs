using Broker.Cluster;
using Broker.Delivery;
using Broker.Domain;
using Broker.Groups;

namespace Broker.Api;

/// <summary>Puts together what serves consumer groups, on this node and on those that lead other shards.</summary>
internal sealed class ConsumerGroupHost : IAsyncDisposable
{
    private readonly BrokerNode _node;
    private readonly GroupNews _news;
    private readonly GroupLinks _links;
    private readonly Dictionary<GroupId, ShardGroups> _shards;

    public ConsumerGroupHost(
        BrokerNode node,
        GroupNews news,
        TailSignal tail,
        Func<string, CancellationToken, Task> makeTopic,
        IHostApplicationLifetime lifetime,
        TimeProvider time,
        ILoggerFactory loggers)
    {
        var logger = loggers.CreateLogger("Broker.Delivery");
        (_node, _news) = (node, news);
        _links = new GroupLinks(() => node.Hello, logger);
        _shards = node.DataShards.ToDictionary(
            static shard => shard.Group,
            shard => new ShardGroups(new ShardPlace(
                shard.Group,
                node.Group(shard.Group),
                shard.Machine,
                shard.Machine.Module<GroupProgressModule>(),
                TopicReaders.Make(node, tail, shard.Group),
                news.Of(shard.Group),
                () => node.ConsumerGroups,
                node.Shards,
                makeTopic,
                time,
                logger)));
        Router = new ConsumerGroupRouter(node, _shards, _links, time);
        Service = new GroupPeerService(node, _shards, lifetime);
    }

    public IConsumerGroups Router { get; }

    public GroupPeerService Service { get; }

    public void Start()
    {
        _node.ConsumerGroupsChanged = _news.WakeAll;
        foreach (var (shard, groups) in _shards)
        {
            _node.StartTask($"consumer groups of shard {shard}", groups.RunAsync);
        }
    }

    public ValueTask DisposeAsync() => _links.DisposeAsync();
}
