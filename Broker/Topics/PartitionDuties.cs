using System.Buffers;
using Broker.Domain;
using Broker.State;

namespace Broker.Topics;

/// <summary>
/// What a shard's leader proposes so that partitions are as their topics say. A topic of several partitions is its
/// first one too; it knows how many there are, and which number each has in its shard. The others are entries of their
/// own there, which name the topic's number. What a topic says is what holds, and the shards follow it step by step: so
/// it is made, changed and deleted by one command, and whoever dies in the middle, the rest comes about.
/// <list type="number">
/// <item>The topic is made: its partitions have no numbers.</item>
/// <item>Each shard makes those that belong to it (<see cref="CommandKind.MakePartitions"/>), and later gives them the
/// topic's new settings by the same command.</item>
/// <item>The topic takes their numbers (<see cref="CommandKind.PlacePartitions"/>): now they can be published
/// to.</item>
/// <item>The topic is deleted: each shard removes what it has of it
/// (<see cref="CommandKind.RemovePartitions"/>).</item>
/// </list>
/// The leader looks into the other shards' state on its own node, which may lag. Numbers of topics rise, so by them a
/// shard tells what was deleted from what it has not heard of yet, and an older topic of a name from a newer one. A
/// publish names the number of the partition that it means: who knew a topic before it was deleted finds no other.
/// All shards of a node are applied by one thread, which asks here as well.
/// </summary>
/// <param name="own">The shard.</param>
/// <param name="shards">Which partition belongs to which shard.</param>
/// <param name="moduleOf">The state of a shard on this node.</param>
internal sealed class PartitionDuties(GroupId own, ShardMap shards, Func<GroupId, TopicModule> moduleOf)
{
    // While nothing has changed since a look that found nothing, there is nothing.
    private long _calmAt = -1;

    // Where the look goes on: the shard, and the topic in it. After the last shard come the own partitions.
    private int _shard;
    private int _topic;
    private bool _isCalm = true;

    private TopicModule Own => moduleOf(own);

    private long Version => shards.DataGroups.Sum(group => moduleOf(group).Partitions.Version);

    /// <summary>One command at a time, of each topic one in a look; false: the look has come to its end.</summary>
    public bool TryWrite(IBufferWriter<byte> command)
    {
        if (_shard == 0 && _topic == 0 && _calmAt == Version)
        {
            return false;
        }

        for (; _shard < shards.DataShards; _shard++, _topic = 0)
        {
            var topics = moduleOf(new GroupId(_shard + 1)).Partitions.Topics;
            while (_topic < topics.Count)
            {
                var topic = topics[_topic++];
                var group = new GroupId(_shard + 1);
                if (TryWriteMake(group, topic, command) || (group == own && TryWritePlace(topic, command)))
                {
                    _isCalm = false;
                    return true;
                }
            }
        }

        if (_topic == 0 && TryWriteRemove(command))
        {
            (_topic, _isCalm) = (1, false);
            return true;
        }

        _calmAt = _isCalm ? Version : -1;
        (_shard, _topic, _isCalm) = (0, 0, true);
        return false;
    }

    private bool TryWriteMake(GroupId group, TopicState topic, IBufferWriter<byte> command)
    {
        var lacking = new List<int>();
        for (var partition = 1; partition < topic.Partitions!.Length; partition++)
        {
            if (shards.GroupOf(group, partition) != own)
            {
                continue;
            }

            var known = Own.Find(topic.PartitionNameOf(partition));
            var isNewer = known?.PartitionOf > topic.Number;
            if (!isNewer && (known?.PartitionOf != topic.Number || known.SettingsVersion < topic.SettingsVersion))
            {
                lacking.Add(partition);
            }
        }

        if (lacking.Count == 0 || !Own.HasRoomFor(lacking.Count))
        {
            _isCalm &= lacking.Count == 0;
            return false;
        }

        PartitionCommands.WriteMakePartitions(command, topic, lacking);
        return true;
    }

    private bool TryWritePlace(TopicState topic, IBufferWriter<byte> command)
    {
        var placed = new List<PlacedPartition>();
        for (var partition = 1; partition < topic.Partitions!.Length; partition++)
        {
            if (topic.Partitions[partition] < 0
                && moduleOf(shards.GroupOf(own, partition)).Find(topic.PartitionNameOf(partition)) is { } known
                && known.PartitionOf == topic.Number)
            {
                placed.Add(new PlacedPartition(partition, known.Number));
            }
        }

        if (placed.Count == 0)
        {
            return false;
        }

        PartitionCommands.WritePlacePartitions(command, topic.Number, placed);
        return true;
    }

    /// <summary>
    /// A topic that is not there was deleted when a later one came to be; else it is still to come here.
    /// </summary>
    private bool TryWriteRemove(IBufferWriter<byte> command)
    {
        var gone = new List<int>();
        foreach (var known in Own.Partitions.Others)
        {
            var (_, partition) = PartitionName.Parse(known.Name);
            var topics = moduleOf(shards.TopicGroupOf(own, partition));
            if (known.PartitionOf < topics.NextNumber
                && topics.Find(known.PartitionOf) is null
                && gone.Count < Limits.PartitionsPerTopic)
            {
                gone.Add(known.Number);
            }
        }

        if (gone.Count == 0)
        {
            return false;
        }

        PartitionCommands.WriteRemovePartitions(command, gone);
        return true;
    }
}
