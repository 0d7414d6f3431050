using System.Buffers;
using System.Text;
using Broker.Domain;

namespace Broker.Topics;

/// <summary>
/// The bytes of a log entry's body: commands, one after the other. All numbers are little-endian.
/// <code>
/// command: u32 length of what follows | u8 kind | payload
/// publish: u8 topic length | topic | u64 producer id | u32 epoch | u64 sequence | u32 record count
///          | RecordBatch, to the end
/// purge:   u8 topic length | topic | i64 first offset to keep, -1 for the topic's next one
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
public static partial class CommandCodec
{
    /// <summary>Length and kind.</summary>
    public const int HeaderBytes = sizeof(uint) + 1;

    internal const int GuidBytes = 16;

    private const int PublishFixedBytes = 1 + sizeof(ulong) + sizeof(uint) + sizeof(ulong) + sizeof(uint);

    /// <summary>
    /// The commands of an entry's body. Malformed bytes break an invariant: the log has checked their CRC.
    /// </summary>
    public static CommandSequence Read(ReadOnlySpan<byte> body) => new(body);

    public static CommandSequence Read(ReadOnlyMemory<byte> body) => new(body.Span);

    /// <summary>What a publish costs in an entry's body, header included.</summary>
    public static int PublishSizeBytes(string topic, int batchBytes) =>
        HeaderBytes + PublishFixedBytes + Encoding.UTF8.GetByteCount(topic) + batchBytes;

    /// <summary>Writes one publish; returns the bytes written. The span holds at least PublishSizeBytes.</summary>
    public static int WritePublish(
        Span<byte> into, string topic, PublishStamp stamp, int recordCount, ReadOnlySpan<byte> batch)
    {
        Span<byte> name = stackalloc byte[Limits.TopicNameBytes];
        var fits = Encoding.UTF8.TryGetBytes(topic, name, out var nameBytes);
        Invariant.Check(fits && nameBytes > 0, "a published topic's name was validated");
        Invariant.Check(recordCount > 0, "a published batch has records");

        var writer = new PayloadWriter(into);
        writer.PutHeader(CommandKind.Publish, PublishFixedBytes + nameBytes + batch.Length);
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
        var writer = Begin(into, CommandKind.PurgeTopic, 1 + nameBytes + sizeof(long));
        writer.PutByte((byte)nameBytes);
        writer.PutBytes(Encoding.UTF8.GetBytes(topic));
        writer.PutUInt64((ulong)beforeOffset);
        into.Advance(writer.Written);
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

    public static PublishCommand ReadPublish(Command command)
    {
        Invariant.Check(command.Kind == CommandKind.Publish, "a publish is read from a publish command");
        var reader = new PayloadReader(command.Payload);
        var topic = reader.TakeBytes(reader.TakeByte());
        var stamp = new PublishStamp(reader.TakeUInt64(), reader.TakeUInt32(), reader.TakeUInt64());
        var count = reader.TakeUInt32();
        Invariant.Check(!topic.IsEmpty, "a stored publish names its topic");
        Invariant.Check(count is > 0 and <= int.MaxValue, "a stored publish has records");
        return new PublishCommand
        {
            Topic = topic,
            Stamp = stamp,
            RecordCount = (int)count,
            Batch = reader.Rest,
            BatchPosition = command.PayloadPosition + command.Payload.Length - reader.Rest.Length,
        };
    }
}
