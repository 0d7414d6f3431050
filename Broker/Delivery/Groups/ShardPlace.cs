using Broker.ClusterState;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Groups;
using Broker.Replication;
using Broker.Topics;

namespace Broker.Delivery;

/// <summary>What the groups of one shard work with.</summary>
/// <param name="Id">The shard.</param>
/// <param name="Replica">Its replica on this node.</param>
/// <param name="Topics">Its topics.</param>
/// <param name="Progress">How far its groups are; of the thread that applies.</param>
/// <param name="Reader">Reads its records.</param>
/// <param name="News">What has changed.</param>
/// <param name="Groups">The groups of the cluster, as this node knows them.</param>
/// <param name="Shards">Which shard has what.</param>
/// <param name="MakeTopic">Makes a topic of dead letters; done when it can be looked for.</param>
/// <param name="Metrics">Where what happens is counted.</param>
/// <param name="Time">The clock.</param>
/// <param name="Logger">Where words go.</param>
internal sealed record ShardPlace(
    GroupId Id,
    ReplicaGroup Replica,
    TopicStateMachine Topics,
    GroupProgressModule Progress,
    TopicReader Reader,
    ShardNews News,
    Func<ConsumerGroups> Groups,
    ShardMap Shards,
    Func<string, CancellationToken, Task> MakeTopic,
    ConsumerGroupMetrics Metrics,
    TimeProvider Time,
    ILogger Logger)
{
    /// <summary>What cannot be read or stored now is tried again after so long.</summary>
    public const long RetryMs = 500;

    public long NowUnixMs => Time.GetUtcNow().ToUnixTimeMilliseconds();
}

/// <summary>A consumer, at the leader of a shard.</summary>
internal sealed class ShardConsumer(
    int number, SessionKey session, long openedUnixMs, string name, IGroupOutlet outlet, GroupServing serving)
{
    /// <summary>Given once by a <see cref="ShardGroups"/>.</summary>
    public int Number { get; } = number;

    public SessionKey Session { get; } = session;

    public ConsumerRank Rank { get; } = new(openedUnixMs, session.Node.Value, session.Number);

    public string Name { get; } = name;

    public IGroupOutlet Outlet { get; } = outlet;

    public GroupServing Serving { get; } = serving;

    /// <summary>Credit that came before the group was loaded.</summary>
    public int EarlyRecords { get; set; }

    public long EarlyBytes { get; set; }
}
