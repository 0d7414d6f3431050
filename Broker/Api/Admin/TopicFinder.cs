using Broker.Client;
using Broker.Cluster;
using Broker.Consensus;
using Broker.Domain;
using Broker.Topics;

namespace Broker.Api;

/// <summary>Finds what operators name: topics, their partitions, and the filters that stand for many of them.</summary>
internal sealed class TopicFinder(BrokerNode node, ReadCatchUp catchUp)
{
    /// <summary>A topic of the broker's own can be read and purged, not made, changed or deleted.</summary>
    public static void CheckName(string name, bool toPublish)
    {
        var isValid = toPublish
            ? TopicName.ValidateForPublish(name, out var reason)
            : TopicName.Validate(name, out reason);
        if (!isValid)
        {
            throw Refusal.InvalidArgument(reason!);
        }
    }

    public static TopicFilter ParseFilter(string text) =>
        TopicFilter.TryParse(text, out var filter, out var reason) ? filter : throw Refusal.InvalidArgument(reason);

    public static BrokerException NoSuch(string name) => Refusal.NotFound($"There is no topic '{name}'.");

    /// <summary>Has the own replicas of shards miss nothing that was acknowledged when this was called.</summary>
    public Task CatchUpAsync(IEnumerable<GroupId> shards, CancellationToken cancellationToken) =>
        Task.WhenAll(shards.Select(each => node.CatchUpAsync(each, cancellationToken)));

    /// <summary>As this node has applied it; when it does not have the topic, the leader is asked first.</summary>
    public async Task<TopicView> FindAsync(GroupId group, string name, CancellationToken cancellationToken)
    {
        await catchUp.WaitAsync(group, name, 0, cancellationToken);
        return node.TopicsOf(group).TryGetTopic(name, out var topic) ? topic : throw NoSuch(name);
    }

    /// <summary>
    /// The topic as the leader, if that is this node, knows it when everything is applied that was committed until now.
    /// </summary>
    public async Task<TopicView?> FindLatestAsync(GroupId home, string name, CancellationToken cancellationToken)
    {
        if (node.Group(home).Status.Role == RaftRole.Leader)
        {
            await node.Group(home).ReadIndexAsync(cancellationToken);
        }

        return node.TopicsOf(home).TryGetTopic(name, out var topic) ? topic : null;
    }

    /// <summary>Where a partition is, and under which name.</summary>
    public (GroupId Group, string Name) PlaceOf(GroupId home, in TopicView topic, int partition) =>
        topic.Partitions > 1
            ? (node.Shards.GroupOf(home, partition), topic.PartitionNameOf(partition))
            : (home, topic.Name);

    /// <summary>False: it is not made yet, or this node does not have it yet.</summary>
    public bool TryFindPartition(GroupId home, in TopicView topic, int partition, out TopicView view)
    {
        view = topic;
        return partition == 0
            || (node.TopicsOf(node.Shards.GroupOf(home, partition)).TryGetTopic(
                    topic.PartitionNameOf(partition), out view)
                && view.Number == topic.PartitionNumber(partition));
    }
}
