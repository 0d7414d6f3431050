using Broker.Domain;
using Broker.Protocol.Wire;
using Broker.Replication;
using Broker.Topics;

namespace Broker.Api;

/// <summary>Where a publish goes: to a topic of one partition, or to one of several.</summary>
/// <param name="Group">The shard.</param>
/// <param name="Name">Under which name the topic, or its partition, stands there.</param>
/// <param name="Number">
/// The number that the partition must have there; -1 for a topic of one, that is made if it is not there.
/// </param>
/// <param name="Partition">From 0.</param>
/// <param name="Partitions">How many the topic has.</param>
/// <param name="Topic">The id of a topic of several partitions, the same for all; none: that of what stores it.</param>
internal readonly record struct PublishTarget(
    GroupId Group, string Name, int Number, int Partition, int Partitions, TopicId Topic)
{
    /// <summary>A topic of one partition, which may not be there yet; or that of a number, which must be.</summary>
    public PublishTarget(GroupId group, string topic, int number = -1)
        : this(group, topic, number, 0, 1, default)
    {
    }

    /// <summary>It goes to that topic alone, not to another one of its name.</summary>
    public bool NamesTopic => Number >= 0;

    /// <summary>The answer to a publish that was stored here.</summary>
    public PublishResponse ToResponse(in CommandResult result, NodeAddress leader) => new()
    {
        BaseOffset = result.BaseOffset,
        Count = (uint)result.Count,
        Duplicate = result.Duplicate,
        TimestampUnixMs = result.TimestampUnixMs,
        Leader = leader,
        Partition = (uint)Partition,
        Partitions = (uint)Partitions,
        TopicId = Topic.IsNone ? new TopicId(Group, result.Topic).Value : Topic.Value,
    };

    /// <summary>One partition of a topic that has several.</summary>
    /// <exception cref="BrokerException">PartitionsChanged: it is not made yet.</exception>
    public static PublishTarget Of(GroupId home, in TopicView topic, int partition, ShardMap shards) =>
        topic.PartitionNumber(partition) is >= 0 and var number
            ? new PublishTarget(
                shards.GroupOf(home, partition),
                topic.PartitionNameOf(partition),
                number,
                partition,
                topic.Partitions,
                new TopicId(home, topic.Number))
            : throw Refusal.PartitionsChanged(topic.Name);
}
