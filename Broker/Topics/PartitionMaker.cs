using System.Text;
using Broker.Replication;
using Broker.State;

namespace Broker.Topics;

/// <summary>
/// Makes, places and removes the partitions that a shard has of topics, as leaders command; <see
/// cref="PartitionDuties"/> proposes it and has the whole picture.
/// </summary>
internal sealed class PartitionMaker(TopicModule topics)
{
    public CommandResult Make(in ApplyStep step, MakePartitionsCommand make)
    {
        step.Hash.Add(make.TopicNumber);
        step.Hash.Add(make.SettingsVersion);
        make.Settings.AddTo(ref step.Hash);
        var result = new CommandResult { TimestampUnixMs = step.Entry.TimestampUnixMs };
        foreach (var partition in make.Partitions)
        {
            step.Hash.Add(partition);
            result.Count += TryMake(make, PartitionName.Of(make.Topic, partition)) ? 1 : 0;
        }

        return result;
    }

    public CommandResult Place(in ApplyStep step, in Command command)
    {
        var (topicNumber, placed) = PartitionCommands.ReadPlacePartitions(command);
        step.Hash.Add(topicNumber);
        foreach (var (partition, number) in placed)
        {
            step.Hash.Add(partition);
            step.Hash.Add(number);
        }

        if (topics.Find(topicNumber) is { } topic && topic.TryPlace(placed))
        {
            topics.NoteChange(topic);
        }

        return new CommandResult { TimestampUnixMs = step.Entry.TimestampUnixMs };
    }

    public CommandResult Remove(in ApplyStep step, int[] numbers)
    {
        foreach (var number in numbers)
        {
            step.Hash.Add(number);
            if (topics.Find(number) is { IsPartition: true } partition)
            {
                topics.Remove(partition);
            }
        }

        return new CommandResult { TimestampUnixMs = step.Entry.TimestampUnixMs };
    }

    private bool TryMake(MakePartitionsCommand make, string name)
    {
        if (topics.Find(name) is { } known)
        {
            if (known.PartitionOf > make.TopicNumber
                || (known.PartitionOf == make.TopicNumber && known.SettingsVersion >= make.SettingsVersion))
            {
                return false; // The leader that proposed it did not know this.
            }

            if (known.PartitionOf == make.TopicNumber)
            {
                topics.TakeSettings(known, make.Settings, make.SettingsVersion);
                return true;
            }

            // Of a topic of that name that was deleted before this one came to be.
            topics.Remove(known);
        }

        if (!topics.HasRoomFor(1))
        {
            return false;
        }

        topics.Add(new TopicState(
            name,
            StableHash.Compute(Encoding.UTF8.GetBytes(name)),
            topics.NextNumber,
            new TopicParts(0, new BatchIndex(0, 0)),
            make.Settings)
        {
            PartitionOf = make.TopicNumber,
            SettingsVersion = make.SettingsVersion,
        });
        return true;
    }
}
