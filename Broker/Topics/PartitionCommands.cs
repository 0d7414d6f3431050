using System.Buffers;
using System.Text;
using Broker.Domain;
using Broker.State;

namespace Broker.Topics;

/// <summary>
/// The payloads of the commands on topics of several partitions. Settings are as in <see cref="TopicCommands"/>; a
/// topic's number here is the one that it has in the shard of its first partition. All numbers are little-endian.
/// <code>
/// create partitioned topic: u16 partitions | as create
/// make partitions:   i32 number of the topic | i32 version of its settings | u8 topic length | topic | settings
///                    | u16 count | that many u16 partitions
/// place partitions:  i32 number of the topic | u16 count | for each: u16 partition | i32 its number in its shard
/// remove partitions: u16 count | that many i32 numbers in this shard
/// </code>
/// Partitions 1 and 4 of topic 7, whose settings were never changed, have the numbers 9 and 10:
/// <code>
/// 13 00 00 00 | 0E | 07 00 00 00 | 02 00 | 01 00 | 09 00 00 00 | 04 00 | 0A 00 00 00
/// </code>
/// </summary>
internal static class PartitionCommands
{
    /// <summary>Makes a topic of one partition or of several.</summary>
    public static void WriteCreateAny(
        IBufferWriter<byte> into, string topic, int partitions, TopicSettings settings)
    {
        if (partitions == 1)
        {
            TopicCommands.WriteCreateTopic(into, topic, settings);
        }
        else
        {
            WriteCreateTopic(into, topic, partitions, settings);
        }
    }

    public static void WriteCreateTopic(
        IBufferWriter<byte> into, string topic, int partitions, TopicSettings settings)
    {
        Invariant.Check(
            partitions is > 1 and <= Limits.PartitionsPerTopic, "a topic's number of partitions was validated");
        var name = Encoding.UTF8.GetBytes(topic);
        Invariant.Check(name.Length is > 0 and <= PartitionName.MostTopicBytes, "the topic's name was validated");
        var writer = CommandSequence.Begin(
            into,
            CommandKind.CreatePartitionedTopic,
            sizeof(ushort) + 1 + name.Length + 1 + TopicSettings.EncodedBytes + settings.CompactionBytes);
        writer.PutUInt16((ushort)partitions);
        writer.PutByte((byte)name.Length);
        writer.PutBytes(name);
        writer.PutByte((byte)TopicSettingParts.All);
        settings.Write(ref writer);
        settings.WriteCompaction(ref writer);
        into.Advance(writer.Written);
    }

    /// <summary>How many partitions; what follows is as in the creation of a topic of one.</summary>
    public static int ReadPartitions(ref PayloadReader reader)
    {
        var partitions = reader.TakeUInt16();
        Invariant.Check(
            partitions is > 1 and <= Limits.PartitionsPerTopic, "a stored topic's number of partitions was validated");
        return partitions;
    }

    public static void WriteMakePartitions(
        IBufferWriter<byte> into, TopicState topic, IReadOnlyList<int> partitions)
    {
        var name = Encoding.UTF8.GetBytes(topic.Name);
        var writer = CommandSequence.Begin(
            into,
            CommandKind.MakePartitions,
            (2 * sizeof(int)) + 1 + name.Length + TopicSettings.EncodedBytes + sizeof(ushort)
            + (partitions.Count * sizeof(ushort)) + topic.Settings.CompactionBytes);
        writer.PutInt32(topic.Number);
        writer.PutInt32(topic.SettingsVersion);
        writer.PutByte((byte)name.Length);
        writer.PutBytes(name);
        topic.Settings.Write(ref writer);
        writer.PutUInt16((ushort)partitions.Count);
        foreach (var partition in partitions)
        {
            writer.PutUInt16((ushort)partition);
        }

        topic.Settings.WriteCompaction(ref writer);
        into.Advance(writer.Written);
    }

    public static MakePartitionsCommand ReadMakePartitions(in Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var (number, version) = (reader.TakeInt32(), reader.TakeInt32());
        var name = Encoding.UTF8.GetString(reader.TakeBytes(reader.TakeByte()));
        var settings = TopicSettings.Read(ref reader);
        var partitions = new int[reader.TakeUInt16()];
        for (var i = 0; i < partitions.Length; i++)
        {
            partitions[i] = reader.TakeUInt16();
        }

        settings = settings.ReadCompaction(ref reader);
        reader.CheckEnd();
        return new MakePartitionsCommand(number, version, name, settings, partitions);
    }

    public static void WritePlacePartitions(
        IBufferWriter<byte> into, int topicNumber, IReadOnlyList<PlacedPartition> placed)
    {
        var writer = CommandSequence.Begin(
            into,
            CommandKind.PlacePartitions,
            sizeof(int) + sizeof(ushort) + (placed.Count * (sizeof(ushort) + sizeof(int))));
        writer.PutInt32(topicNumber);
        writer.PutUInt16((ushort)placed.Count);
        foreach (var (partition, number) in placed)
        {
            writer.PutUInt16((ushort)partition);
            writer.PutInt32(number);
        }

        into.Advance(writer.Written);
    }

    public static (int TopicNumber, PlacedPartition[] Placed) ReadPlacePartitions(in Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var topicNumber = reader.TakeInt32();
        var placed = new PlacedPartition[reader.TakeUInt16()];
        for (var i = 0; i < placed.Length; i++)
        {
            placed[i] = new PlacedPartition(reader.TakeUInt16(), reader.TakeInt32());
        }

        reader.CheckEnd();
        return (topicNumber, placed);
    }

    public static void WriteRemovePartitions(IBufferWriter<byte> into, IReadOnlyList<int> numbers)
    {
        var writer = CommandSequence.Begin(
            into, CommandKind.RemovePartitions, sizeof(ushort) + (numbers.Count * sizeof(int)));
        writer.PutUInt16((ushort)numbers.Count);
        foreach (var number in numbers)
        {
            writer.PutInt32(number);
        }

        into.Advance(writer.Written);
    }

    public static int[] ReadRemovePartitions(in Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var numbers = new int[reader.TakeUInt16()];
        for (var i = 0; i < numbers.Length; i++)
        {
            numbers[i] = reader.TakeInt32();
        }

        reader.CheckEnd();
        return numbers;
    }
}

/// <param name="Partition">From 1.</param>
/// <param name="Number">Its number in its shard.</param>
internal readonly record struct PlacedPartition(int Partition, int Number);

/// <summary>Partitions of a topic that a shard is to have, with the settings of that moment.</summary>
/// <param name="TopicNumber">The topic's number in the shard of its first partition.</param>
/// <param name="SettingsVersion">How often its settings had been changed.</param>
/// <param name="Topic">Its name.</param>
/// <param name="Settings">Its settings.</param>
/// <param name="Partitions">Those that belong to the shard.</param>
internal sealed record MakePartitionsCommand(
    int TopicNumber, int SettingsVersion, string Topic, TopicSettings Settings, int[] Partitions);
