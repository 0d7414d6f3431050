using Broker.Replication;
using Broker.State;

namespace Broker.Topics;

/// <summary>Topics of several partitions; <see cref="PartitionDuties"/> has the whole picture.</summary>
public sealed partial class TopicModule
{
    private readonly PartitionList _partitions = new();
    private PartitionDuties? _duties;

    /// <summary>Topics of several partitions, and partitions of topics.</summary>
    internal PartitionList Partitions => _partitions;

    /// <summary>Numbers below it were given to topics that came to be here.</summary>
    internal int NextNumber => Topics.NextNumber;

    internal TopicState? Find(int number) => _topics.Find(number);

    internal TopicState? Find(ReadOnlySpan<byte> name) => _topics.TryGet(name, out var topic) ? topic : null;

    internal TopicState? Find(string name) => _topics.TryGet(name, out var topic) ? topic : null;

    internal bool HasRoomFor(int topics) => _topics.Count + topics <= _bounds.Topics;

    /// <summary>Says what the leader is to do for partitions; without it nothing.</summary>
    internal void AttachDuties(PartitionDuties duties) => _duties = duties;

    private CommandResult ApplyCreatePartitioned(in ApplyStep step, in Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var partitions = PartitionCommands.ReadPartitions(ref reader);
        step.Hash.Add(partitions);
        return ApplyCreate(step, TopicCommands.ReadTopicSettings(reader), partitions);
    }

    /// <summary>A partition of this shard takes over what its topic's settings are now.</summary>
    internal void TakeSettings(TopicState partition, TopicSettings settings, int version)
    {
        var before = partition.Settings;
        (partition.Settings, partition.SettingsVersion) = (settings, version);
        _retention.Note(partition, before);
        NoteChange(partition);
    }

    /// <summary>Something of a topic's partitions has changed.</summary>
    internal void NoteChange(TopicState topic)
    {
        _partitions.Touch();
        _applied.OnTopicChanged(topic.Name);
    }
}
