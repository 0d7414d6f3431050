using System.Buffers;
using Broker.Domain;
using Broker.State;

namespace Broker.Groups;

/// <summary>
/// The payloads of the commands by which a shard knows how far groups are. Groups are named by their numbers, topics by
/// those that they have in the shard. All numbers are little-endian; a varint is as in PayloadReader.
/// <code>
/// open group:     i32 group | i32 first topic number that this is about | i32 the one behind the last
///                 | i32 topics below this one were there when the group came | u16 count
///                 | for each: i32 topic, varint first offset that the group wants
/// settle records: i32 group | i32 topic | i32 turn | u16 ranges | for each: varint first, varint count
///                 | u16 counts | for each: varint offset, varint deliveries, varint ms to wait for the next one
/// seek group:     i32 group | i32 topic | varint offset
/// close group:    i32 group
/// bury record:    i32 group | i32 topic | i32 turn | varint offset | i32 number of the dead letters' topic
///                 | batch of one record, to the end
/// forget topics:  u16 count | that many i32 topics
/// </code>
/// Group 2 has finished offsets 5 and 6 of topic 1, in its first turn, and was delivered offset 8 three times in vain:
/// <code>
/// 16 00 00 00 | 37 | 02 00 00 00 | 01 00 00 00 | 00 00 00 00 | 01 00 | 05 02 | 01 00 | 08 03 00
/// </code>
/// </summary>
internal static class GroupCommands
{
    private const int NoTopic = -1;

    public static void WriteOpen(IBufferWriter<byte> into, in OpenGroupCommand open)
    {
        var payloadBytes = (4 * sizeof(int)) + sizeof(ushort)
            + open.Starts.Sum(static each => sizeof(int) + VarintBytes(each.Offset));
        var writer = CommandSequence.Begin(into, CommandKind.OpenGroup, payloadBytes);
        writer.PutInt32(open.Group);
        writer.PutInt32(open.FirstTopic);
        writer.PutInt32(open.EndTopic);
        writer.PutInt32(open.Before);
        writer.PutUInt16(checked((ushort)open.Starts.Count));
        foreach (var (topic, offset) in open.Starts)
        {
            writer.PutInt32(topic);
            writer.PutVarint((ulong)offset);
        }

        into.Advance(writer.Written);
    }

    public static OpenGroupCommand ReadOpen(in Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var (group, first, end, before) =
            (reader.TakeInt32(), reader.TakeInt32(), reader.TakeInt32(), reader.TakeInt32());
        var starts = new TopicStart[reader.TakeUInt16()];
        for (var i = 0; i < starts.Length; i++)
        {
            starts[i] = new TopicStart(reader.TakeInt32(), TakeOffset(ref reader));
        }

        reader.CheckEnd();
        return new OpenGroupCommand(group, first, end, before, starts);
    }

    public static void WriteSettle(IBufferWriter<byte> into, in SettleCommand settle)
    {
        var payloadBytes = (3 * sizeof(int)) + (2 * sizeof(ushort))
            + settle.Ranges.Sum(static each => VarintBytes(each.First) + VarintBytes(each.Count))
            + settle.Deliveries.Sum(static each => VarintBytes(each.Offset)
                + VarintBytes(each.Tried.Count) + VarintBytes(each.Tried.WaitMs));
        var writer = CommandSequence.Begin(into, CommandKind.SettleRecords, payloadBytes);
        writer.PutInt32(settle.Group);
        writer.PutInt32(settle.Topic);
        writer.PutInt32(settle.Turn);
        writer.PutUInt16(checked((ushort)settle.Ranges.Count));
        foreach (var range in settle.Ranges)
        {
            writer.PutVarint((ulong)range.First);
            writer.PutVarint((ulong)range.Count);
        }

        writer.PutUInt16(checked((ushort)settle.Deliveries.Count));
        foreach (var (offset, tried) in settle.Deliveries)
        {
            writer.PutVarint((ulong)offset);
            writer.PutVarint((ulong)tried.Count);
            writer.PutVarint((ulong)tried.WaitMs);
        }

        into.Advance(writer.Written);
    }

    /// <summary>
    /// Nothing, in no topic: every version answers that there is no such topic. What counts is its place in the log:
    /// when it is answered, all is applied that its leader has proposed before it.
    /// </summary>
    public static void WriteBarrier(IBufferWriter<byte> into, int group) =>
        WriteSettle(into, new SettleCommand(group, NoTopic, 0, [], []));

    public static SettleCommand ReadSettle(in Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var (group, topic, turn) = (reader.TakeInt32(), reader.TakeInt32(), reader.TakeInt32());
        var ranges = new OffsetRange[reader.TakeUInt16()];
        for (var i = 0; i < ranges.Length; i++)
        {
            var first = TakeOffset(ref reader);
            ranges[i] = new OffsetRange(first, checked(first + TakeOffset(ref reader)));
        }

        var deliveries = new DeliveryCount[reader.TakeUInt16()];
        for (var i = 0; i < deliveries.Length; i++)
        {
            deliveries[i] = new DeliveryCount(
                TakeOffset(ref reader), new Tried(reader.TakeVarint32(), TakeOffset(ref reader)));
        }

        reader.CheckEnd();
        return new SettleCommand(group, topic, turn, ranges, deliveries);
    }

    public static void WriteSeek(IBufferWriter<byte> into, int group, int topic, long offset)
    {
        var writer = CommandSequence.Begin(into, CommandKind.SeekGroup, (2 * sizeof(int)) + VarintBytes(offset));
        writer.PutInt32(group);
        writer.PutInt32(topic);
        writer.PutVarint((ulong)offset);
        into.Advance(writer.Written);
    }

    public static (int Group, int Topic, long Offset) ReadSeek(in Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var seek = (reader.TakeInt32(), reader.TakeInt32(), TakeOffset(ref reader));
        reader.CheckEnd();
        return seek;
    }

    public static void WriteClose(IBufferWriter<byte> into, int group)
    {
        var writer = CommandSequence.Begin(into, CommandKind.CloseGroup, sizeof(int));
        writer.PutInt32(group);
        into.Advance(writer.Written);
    }

    public static int ReadClose(in Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var group = reader.TakeInt32();
        reader.CheckEnd();
        return group;
    }

    public static void WriteBury(
        IBufferWriter<byte> into,
        int group,
        int topic,
        int turn,
        long offset,
        int deadLetters,
        ReadOnlySpan<byte> batch)
    {
        var writer = CommandSequence.Begin(
            into, CommandKind.BuryRecord, (4 * sizeof(int)) + VarintBytes(offset) + batch.Length);
        writer.PutInt32(group);
        writer.PutInt32(topic);
        writer.PutInt32(turn);
        writer.PutVarint((ulong)offset);
        writer.PutInt32(deadLetters);
        writer.PutBytes(batch);
        into.Advance(writer.Written);
    }

    public static BuryCommand ReadBury(in Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var (group, topic, turn) = (reader.TakeInt32(), reader.TakeInt32(), reader.TakeInt32());
        var offset = TakeOffset(ref reader);
        var deadLetters = reader.TakeInt32();
        var length = reader.Rest.Length;
        return new BuryCommand(
            group,
            topic,
            turn,
            offset,
            deadLetters,
            command.PayloadPosition + command.Payload.Length - length,
            length);
    }

    public static void WriteForget(IBufferWriter<byte> into, IReadOnlyList<int> topics)
    {
        var writer = CommandSequence.Begin(
            into, CommandKind.ForgetTopics, sizeof(ushort) + (topics.Count * sizeof(int)));
        writer.PutUInt16(checked((ushort)topics.Count));
        foreach (var topic in topics)
        {
            writer.PutInt32(topic);
        }

        into.Advance(writer.Written);
    }

    public static int[] ReadForget(in Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var topics = new int[reader.TakeUInt16()];
        for (var i = 0; i < topics.Length; i++)
        {
            topics[i] = reader.TakeInt32();
        }

        reader.CheckEnd();
        return topics;
    }

    private static long TakeOffset(ref PayloadReader reader)
    {
        var value = reader.TakeVarint();
        Invariant.Check(value <= long.MaxValue, "an offset is within its bounds");
        return (long)value;
    }

    private static int VarintBytes(long value)
    {
        var bytes = 1;
        for (var rest = (ulong)value >> 7; rest > 0; rest >>= 7)
        {
            bytes++;
        }

        return bytes;
    }
}

/// <summary>Where a group begins in some of the topics that were there when it came to the shard.</summary>
/// <param name="Group">Its number.</param>
/// <param name="FirstTopic">What is said is about topics from this number on.</param>
/// <param name="EndTopic">And about those below this one.</param>
/// <param name="Before">All topics that were there have numbers below this one: it is open when all were told.</param>
/// <param name="Starts">Where it does not begin at the beginning.</param>
internal readonly record struct OpenGroupCommand(
    int Group, int FirstTopic, int EndTopic, int Before, IReadOnlyList<TopicStart> Starts);

/// <param name="Topic">A topic's number.</param>
/// <param name="Offset">The first offset that the group wants of it.</param>
internal readonly record struct TopicStart(int Topic, long Offset);

/// <summary>What became of records of one topic that a group was delivered.</summary>
/// <param name="Group">Its number.</param>
/// <param name="Topic">The topic's number.</param>
/// <param name="Turn">The turn in which they were delivered; see <see cref="GroupProgress.Turn"/>.</param>
/// <param name="Ranges">They are finished.</param>
/// <param name="Deliveries">They were delivered in vain so often.</param>
internal readonly record struct SettleCommand(
    int Group, int Topic, int Turn, IReadOnlyList<OffsetRange> Ranges, IReadOnlyList<DeliveryCount> Deliveries);

/// <param name="Offset">A record.</param>
/// <param name="Tried">How often it was delivered in vain.</param>
internal readonly record struct DeliveryCount(long Offset, Tried Tried);

/// <summary>A record becomes a dead letter.</summary>
/// <param name="Group">The group's number.</param>
/// <param name="Topic">The number of the record's topic.</param>
/// <param name="Turn">The turn in which it was delivered.</param>
/// <param name="Offset">Its offset.</param>
/// <param name="DeadLetters">The number of the topic that takes the copy.</param>
/// <param name="BatchPosition">Where the copy, a batch of one record, begins in the entry's body.</param>
/// <param name="BatchBytes">The copy's bytes.</param>
internal readonly record struct BuryCommand(
    int Group, int Topic, int Turn, long Offset, int DeadLetters, int BatchPosition, int BatchBytes);
