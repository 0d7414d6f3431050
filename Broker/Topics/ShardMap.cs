using System.Text;
using Broker.Domain;
using Broker.State;

namespace Broker.Topics;

/// <summary>
/// Which group holds a topic: a stable hash of its name, modulo the number of data shards; of a name with a word in
/// braces ("orders.{42}.created") a hash of that alone, so that topics which belong together can lie together, as keys
/// do in a Redis Cluster. Group 0 holds the cluster's metadata, so data shards are numbered from 1. The number of
/// shards is fixed when the cluster is first started: another one would look for topics where they are not.
/// </summary>
public sealed class ShardMap
{
    /// <summary>Three leaders for three nodes.</summary>
    public const int DefaultDataShards = 3;

    public ShardMap(int dataShards = DefaultDataShards)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(dataShards, 1);
        DataShards = dataShards;
    }

    public int DataShards { get; }

    /// <summary>The data shards' groups, in order.</summary>
    public IEnumerable<GroupId> DataGroups => Enumerable.Range(1, DataShards).Select(number => new GroupId(number));

    /// <summary>The group of a topic. The name is valid: at most 255 bytes of UTF-8.</summary>
    public GroupId GroupOf(string topic)
    {
        Span<byte> name = stackalloc byte[Limits.TopicNameBytes];
        var fits = Encoding.UTF8.TryGetBytes(topic, name, out var length);
        Invariant.Check(fits, "a topic's name was validated before its shard was asked for");
        return new GroupId(1 + (int)(StableHash.Compute(Deciding(name[..length])) % (ulong)DataShards));
    }

    /// <summary>
    /// What is between the first '{' and the first '}' behind it, unless that is nothing; else the whole name.
    /// </summary>
    private static ReadOnlySpan<byte> Deciding(ReadOnlySpan<byte> name)
    {
        var open = name.IndexOf((byte)'{');
        var length = open < 0 ? -1 : name[(open + 1)..].IndexOf((byte)'}');
        return length > 0 ? name.Slice(open + 1, length) : name;
    }

    /// <summary>The group of a partition: they take turns, beginning with the group of the topic.</summary>
    /// <param name="topic">The topic's group, which has partition 0.</param>
    /// <param name="partition">From 0.</param>
    public GroupId GroupOf(GroupId topic, int partition) =>
        new(1 + ((topic.Value - 1 + partition) % DataShards));

    /// <summary>The other way round: the first partition of a topic that a group has.</summary>
    internal int FirstPartitionIn(GroupId topic, GroupId group) =>
        (group.Value - topic.Value + DataShards) % DataShards;

    /// <summary>And once more: the group of the topic of which a group has a partition.</summary>
    internal GroupId TopicGroupOf(GroupId group, int partition) =>
        new(1 + ((group.Value - 1 + DataShards - (partition % DataShards)) % DataShards));
}
