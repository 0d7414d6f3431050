using System.Buffers;
using System.Text;
using Broker.Domain;
using Broker.State;

namespace Broker.Topics;

/// <summary>
/// The payloads of the commands on topics; <see cref="CommandSequence"/> has what stands around them. All numbers are
/// little-endian.
/// <code>
/// publish: u8 topic length | topic | u64 producer id | u32 epoch | u64 sequence | u32 record count
///          | RecordBatch, to the end
/// publish at offset: i64 offset that the first record must get | as publish
/// publish to partition: i32 number of the partition in its shard | i64 the offset or -1 | as publish
/// publish delayed: i32 number of the topic or partition in its shard, or -1 | i64 the offset or -1 | as publish
/// purge:   u8 topic length | topic | i64 first offset to keep, -1 for the topic's next one
/// trim:    i32 number of the topic | i32 version of its settings | i64 first offset to keep
/// compact: i32 number of the topic | i32 version of its settings | i64 first offset to leave alone
/// create, update: u8 topic length | topic | u8 which settings are set | settings
/// delete:  topic, to the end
/// </code>
/// An unstamped publish of one empty record (0A 00) to topic "a":
/// <code>
/// 1D 00 00 00                length: 29
/// 01                         kind: Publish
/// 01 61                      topic "a"
/// 00 00 00 00 00 00 00 00    producer id: none
/// 00 00 00 00                epoch
/// 00 00 00 00 00 00 00 00    sequence
/// 01 00 00 00                records: 1
/// 0A 00                      the batch, as the producer encoded it
/// </code>
/// A purge of all that topic "a" holds:
/// <code>
/// 0B 00 00 00 | 02 | 01 61 | FF FF FF FF FF FF FF FF
/// </code>
/// </summary>
public static class TopicCommands
{
    private const int PublishFixedBytes = 1 + sizeof(ulong) + sizeof(uint) + sizeof(ulong) + sizeof(uint);

    /// <summary>What a publish costs in an entry's body, header included.</summary>
    public static int PublishSizeBytes(
        string topic,
        int batchBytes,
        long? expectedOffset = null,
        int topicNumber = -1,
        bool isDelayed = false) =>
        CommandSequence.HeaderBytes + PublishFixedBytes + Encoding.UTF8.GetByteCount(topic) + batchBytes
        + (topicNumber >= 0 || isDelayed ? sizeof(int) : 0)
        + (topicNumber >= 0 || isDelayed || expectedOffset is not null ? sizeof(long) : 0);

    /// <summary>Whether a command stores a batch.</summary>
    internal static bool IsPublish(CommandKind kind) =>
        kind is CommandKind.Publish or CommandKind.PublishAtOffset or CommandKind.PublishToPartition
            or CommandKind.PublishDelayed;

    /// <summary>Writes one publish; returns the bytes written. The span holds at least PublishSizeBytes.</summary>
    public static int WritePublish(
        Span<byte> into,
        string topic,
        PublishStamp stamp,
        int recordCount,
        ReadOnlySpan<byte> batch,
        long? expectedOffset = null,
        int topicNumber = -1,
        bool isDelayed = false)
    {
        Span<byte> name = stackalloc byte[Limits.TopicNameBytes];
        var fits = Encoding.UTF8.TryGetBytes(topic, name, out var nameBytes);
        Invariant.Check(fits && nameBytes > 0, "a published topic's name was validated");
        Invariant.Check(recordCount > 0, "a published batch has records");

        var writer = new PayloadWriter(into);
        var payloadBytes = PublishFixedBytes + nameBytes + batch.Length;
        if (topicNumber >= 0 || isDelayed)
        {
            var kind = isDelayed ? CommandKind.PublishDelayed : CommandKind.PublishToPartition;
            writer.PutHeader(kind, sizeof(int) + sizeof(long) + payloadBytes);
            writer.PutInt32(topicNumber);
            writer.PutUInt64((ulong)(expectedOffset ?? -1));
        }
        else if (expectedOffset is { } expected)
        {
            writer.PutHeader(CommandKind.PublishAtOffset, sizeof(long) + payloadBytes);
            writer.PutUInt64((ulong)expected);
        }
        else
        {
            writer.PutHeader(CommandKind.Publish, payloadBytes);
        }

        writer.PutByte((byte)nameBytes);
        writer.PutBytes(name[..nameBytes]);
        writer.PutUInt64(stamp.ProducerId);
        writer.PutUInt32(stamp.Epoch);
        writer.PutUInt64(stamp.Sequence);
        writer.PutUInt32((uint)recordCount);
        writer.PutBytes(batch);
        return writer.Written;
    }

    /// <summary>Writes a purge of what lies before an offset; -1: of everything.</summary>
    public static void WritePurgeTopic(IBufferWriter<byte> into, string topic, long beforeOffset)
    {
        var nameBytes = Encoding.UTF8.GetByteCount(topic);
        Invariant.Check(nameBytes is > 0 and <= Limits.TopicNameBytes, "a purged topic's name was validated");
        var writer = CommandSequence.Begin(into, CommandKind.PurgeTopic, 1 + nameBytes + sizeof(long));
        writer.PutByte((byte)nameBytes);
        writer.PutBytes(Encoding.UTF8.GetBytes(topic));
        writer.PutUInt64((ulong)beforeOffset);
        into.Advance(writer.Written);
    }

    internal static void WriteTrimTopic(IBufferWriter<byte> into, int number, int settingsVersion, long beforeOffset) =>
        WriteUpTo(into, CommandKind.TrimTopic, number, settingsVersion, beforeOffset);

    internal static TrimTopicCommand ReadTrimTopic(Command command)
    {
        var (number, settingsVersion, beforeOffset) = ReadUpTo(command);
        return new TrimTopicCommand(number, settingsVersion, beforeOffset);
    }

    internal static void WriteCompactTopic(IBufferWriter<byte> into, int number, int settingsVersion, long through) =>
        WriteUpTo(into, CommandKind.CompactTopic, number, settingsVersion, through);

    internal static CompactTopicCommand ReadCompactTopic(Command command)
    {
        var (number, settingsVersion, through) = ReadUpTo(command);
        return new CompactTopicCommand(number, settingsVersion, through);
    }

    private static void WriteUpTo(
        IBufferWriter<byte> into, CommandKind kind, int number, int settingsVersion, long offset)
    {
        var writer = CommandSequence.Begin(into, kind, (2 * sizeof(int)) + sizeof(long));
        writer.PutInt32(number);
        writer.PutInt32(settingsVersion);
        writer.PutUInt64((ulong)offset);
        into.Advance(writer.Written);
    }

    private static (int Number, int SettingsVersion, long Offset) ReadUpTo(Command command)
    {
        var reader = new PayloadReader(command.Payload);
        var upTo = (reader.TakeInt32(), reader.TakeInt32(), (long)reader.TakeUInt64());
        reader.CheckEnd();
        return upTo;
    }

    /// <summary>Makes a topic.</summary>
    public static void WriteCreateTopic(IBufferWriter<byte> into, string topic, TopicSettings settings) =>
        WriteTopicSettings(into, CommandKind.CreateTopic, topic, TopicSettingParts.All, settings);

    /// <summary>Changes the settings of which parts are named.</summary>
    internal static void WriteUpdateTopic(
        IBufferWriter<byte> into, string topic, TopicSettingParts parts, TopicSettings settings) =>
        WriteTopicSettings(into, CommandKind.UpdateTopic, topic, parts, settings);

    private static void WriteTopicSettings(
        IBufferWriter<byte> into, CommandKind kind, string topic, TopicSettingParts parts, TopicSettings settings)
    {
        var name = Encoding.UTF8.GetBytes(topic);
        Invariant.Check(name.Length is > 0 and <= Limits.TopicNameBytes, "the topic's name was validated");
        var writer = CommandSequence.Begin(
            into, kind, 1 + name.Length + 1 + TopicSettings.EncodedBytes + settings.CompactionBytes);
        writer.PutByte((byte)name.Length);
        writer.PutBytes(name);
        writer.PutByte((byte)parts);
        settings.Write(ref writer);
        settings.WriteCompaction(ref writer);
        into.Advance(writer.Written);
    }

    internal static TopicSettingsCommand ReadTopicSettings(Command command) =>
        ReadTopicSettings(new PayloadReader(command.Payload));

    internal static TopicSettingsCommand ReadTopicSettings(PayloadReader reader)
    {
        var topic = reader.TakeBytes(reader.TakeByte());
        var parts = (TopicSettingParts)reader.TakeByte();
        var settings = TopicSettings.Read(ref reader).ReadCompaction(ref reader);
        reader.CheckEnd();
        Invariant.Check(!topic.IsEmpty, "stored settings name their topic");
        return new TopicSettingsCommand(topic, parts, settings);
    }

    /// <summary>Removes a topic.</summary>
    public static void WriteDeleteTopic(IBufferWriter<byte> into, string topic)
    {
        var name = Encoding.UTF8.GetBytes(topic);
        var writer = CommandSequence.Begin(into, CommandKind.DeleteTopic, name.Length);
        writer.PutBytes(name);
        into.Advance(writer.Written);
    }

    internal static ReadOnlySpan<byte> ReadDeleteTopic(in Command command)
    {
        Invariant.Check(!command.Payload.IsEmpty, "a stored deletion names its topic");
        return command.Payload;
    }

    internal static PurgeTopicCommand ReadPurgeTopic(Command command)
    {
        Invariant.Check(command.Kind == CommandKind.PurgeTopic, "a purge is read from a purge command");
        var reader = new PayloadReader(command.Payload);
        var topic = reader.TakeBytes(reader.TakeByte());
        var beforeOffset = (long)reader.TakeUInt64();
        reader.CheckEnd();
        Invariant.Check(!topic.IsEmpty, "a stored purge names its topic");
        Invariant.Check(beforeOffset >= -1, "a stored purge names an offset, or all");
        return new PurgeTopicCommand(topic, beforeOffset);
    }

    /// <summary>The name of a publish's topic, without reading the rest of it.</summary>
    public static ReadOnlySpan<byte> TopicOf(in Command publish)
    {
        var name = publish.Payload[(publish.Kind switch
        {
            CommandKind.Publish => 0,
            CommandKind.PublishAtOffset => sizeof(long),
            _ => sizeof(int) + sizeof(long),
        })..];
        return name.Slice(1, name[0]);
    }

    public static PublishCommand ReadPublish(Command command)
    {
        Invariant.Check(IsPublish(command.Kind), "a publish is read from a publish command");
        if (command.IsThinned)
        {
            return ThinnedPublish.Read(command);
        }

        var isToPartition = command.Kind == CommandKind.PublishToPartition;
        var isDelayed = command.Kind == CommandKind.PublishDelayed;
        var reader = new PayloadReader(command.Payload);
        var topicNumber = isToPartition || isDelayed ? reader.TakeInt32() : -1;
        Invariant.Check(topicNumber >= 0 || !isToPartition, "a stored publish to a partition names it");
        var expectedOffset = command.Kind == CommandKind.Publish ? -1 : (long)reader.TakeUInt64();
        Invariant.Check(
            expectedOffset >= 0 || command.Kind != CommandKind.PublishAtOffset, "a stored condition names an offset");
        var topic = reader.TakeBytes(reader.TakeByte());
        var stamp = new PublishStamp(reader.TakeUInt64(), reader.TakeUInt32(), reader.TakeUInt64());
        var count = reader.TakeUInt32();
        Invariant.Check(!topic.IsEmpty, "a stored publish names its topic");
        Invariant.Check(count is > 0 and <= int.MaxValue, "a stored publish has records");
        return new PublishCommand
        {
            Topic = topic,
            ExpectedOffset = expectedOffset,
            TopicNumber = topicNumber,
            Stamp = stamp,
            RecordCount = (int)count,
            MayBeDelayed = isDelayed,
            Batch = reader.Rest,
            BatchBytes = reader.Rest.Length,
            BatchPosition = command.PayloadPosition + command.Payload.Length - reader.Rest.Length,
        };
    }
}
