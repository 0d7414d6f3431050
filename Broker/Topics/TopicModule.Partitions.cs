using System.Text;
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

    private CommandResult ApplyMakePartitions(in ApplyStep step, MakePartitionsCommand make)
    {
        step.Hash.Add(make.TopicNumber);
        step.Hash.Add(make.SettingsVersion);
        make.Settings.AddTo(ref step.Hash);
        var result = new CommandResult { TimestampUnixMs = step.Entry.TimestampUnixMs };
        foreach (var partition in make.Partitions)
        {
            step.Hash.Add(partition);
            result.Count += TryMakePartition(make, PartitionName.Of(make.Topic, partition)) ? 1 : 0;
        }

        return result;
    }

    private bool TryMakePartition(MakePartitionsCommand make, string name)
    {
        if (_topics.TryGet(name, out var known))
        {
            if (known.PartitionOf > make.TopicNumber
                || (known.PartitionOf == make.TopicNumber && known.SettingsVersion >= make.SettingsVersion))
            {
                return false; // The leader that proposed it did not know this.
            }

            if (known.PartitionOf == make.TopicNumber)
            {
                var before = known.Settings;
                (known.Settings, known.SettingsVersion) = (make.Settings, make.SettingsVersion);
                _retention.Note(known, before);
                _partitions.Touch();
                _applied.OnTopicChanged(name);
                return true;
            }

            // Of a topic of that name that was deleted before this one came to be.
            Remove(known);
        }

        if (!HasRoomFor(1))
        {
            return false;
        }

        Add(new TopicState(
            name,
            StableHash.Compute(Encoding.UTF8.GetBytes(name)),
            _topics.NextNumber,
            new TopicParts(0, new BatchIndex(0, 0)),
            make.Settings)
        {
            PartitionOf = make.TopicNumber,
            SettingsVersion = make.SettingsVersion,
        });
        return true;
    }

    private CommandResult ApplyPlacePartitions(in ApplyStep step, in Command command)
    {
        var (topicNumber, placed) = PartitionCommands.ReadPlacePartitions(command);
        step.Hash.Add(topicNumber);
        foreach (var (partition, number) in placed)
        {
            step.Hash.Add(partition);
            step.Hash.Add(number);
        }

        if (_topics.Find(topicNumber) is { } topic && topic.TryPlace(placed))
        {
            _partitions.Touch();
            _applied.OnTopicChanged(topic.Name);
        }

        return new CommandResult { TimestampUnixMs = step.Entry.TimestampUnixMs };
    }

    private CommandResult ApplyRemovePartitions(in ApplyStep step, int[] numbers)
    {
        foreach (var number in numbers)
        {
            step.Hash.Add(number);
            if (_topics.Find(number) is { IsPartition: true } partition)
            {
                Remove(partition);
            }
        }

        return new CommandResult { TimestampUnixMs = step.Entry.TimestampUnixMs };
    }
}
