using Broker.Cluster;
using Broker.Delivery;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Groups;

namespace Broker.Api;

/// <summary>Puts together what serves consumer groups, on this node and on those that lead other shards.</summary>
internal sealed class ConsumerGroupHost : IAsyncDisposable
{
    private readonly BrokerNode _node;
    private readonly GroupNews _news;
    private readonly GroupLinks _links;
    private readonly TimeProvider _time;
    private readonly Dictionary<GroupId, ShardGroups> _shards;

    public ConsumerGroupHost(
        BrokerNode node,
        GroupNews news,
        TailSignal tail,
        Func<string, CancellationToken, Task> makeTopic,
        IHostApplicationLifetime lifetime,
        ConsumerGroupMetrics metrics,
        TimeProvider time,
        ILoggerFactory loggers)
    {
        var logger = loggers.CreateLogger("Broker.Delivery");
        (_node, _news, _time) = (node, news, time);
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
                metrics,
                time,
                logger)));
        Router = new ConsumerGroupRouter(node, _shards, _links, time);
        Service = new GroupPeerService(node, _shards, lifetime);
        metrics.Observe(Figures);
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

    /// <summary>Has the state of all groups counted, for metrics that are collected now; but not for long.</summary>
    public async Task CountAsync(CancellationToken cancellationToken)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        await Task.WhenAny(
            Task.WhenAll(_shards.Values.Select(static shard => shard.CountAsync())),
            Task.Delay(TimeSpan.FromMilliseconds(Limits.GroupCountMs), _time, ended.Token));
        await ended.CancelAsync();
    }

    /// <summary>
    /// As they were counted last. Who collects without asking before has them counted for the next time.
    /// </summary>
    private IEnumerable<ConsumerGroupFigures> Figures()
    {
        foreach (var shard in _shards.Values)
        {
            _ = shard.CountAsync();
        }

        return _shards.Values.SelectMany(static shard => shard.Figures);
    }

    public ValueTask DisposeAsync() => _links.DisposeAsync();
}
