using System.Buffers;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Replication;
using Broker.State;
using Broker.Topics;
using Google.Protobuf;
using Xunit;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Unit.Topics;

/// <summary>Builds log entries for tests as the leader's loop would.</summary>
internal sealed class Entries(long lastIndex = 0)
{
    private long _index = lastIndex;
    private long _timestampUnixMs = 1_000 + (lastIndex * 10);

    /// <summary>The time of the last entry.</summary>
    public long TimeMs => _timestampUnixMs;

    /// <summary>The log's time passes without an entry.</summary>
    public void Advance(long milliseconds) => _timestampUnixMs += milliseconds;

    public LogEntry Of(params byte[][] commands)
    {
        var body = commands.SelectMany(bytes => bytes).ToArray();
        return Raw(commands.Length, body);
    }

    public LogEntry Raw(int count, byte[] body) => new(
        new LogIndex(++_index),
        new Term(1),
        EntryKind.Commands,
        count,
        _timestampUnixMs += 10,
        Crc32C.Compute(body),
        body);

    public LogEntry Publish(string topic, int records = 1, ulong id = 0, uint epoch = 0, ulong sequence = 0) =>
        Of(PublishCommand(topic, Batch(records), records, new PublishStamp(id, epoch, sequence)));

    public static byte[] PublishCommand(
        string topic,
        byte[] batch,
        int records = 1,
        PublishStamp stamp = default,
        long? expectedOffset = null,
        int topicNumber = -1,
        bool isDelayed = false)
    {
        var bytes = new byte[
            TopicCommands.PublishSizeBytes(topic, batch.Length, expectedOffset, topicNumber, isDelayed)];
        var written = TopicCommands.WritePublish(
            bytes, topic, stamp, records, batch, expectedOffset, topicNumber, isDelayed);
        Assert.Equal(bytes.Length, written);
        return bytes;
    }

    /// <summary>One command of several publishes.</summary>
    public static byte[] Atomic(params byte[][] parts) => Atomic(CommandKind.PublishAtomic, parts);

    public static byte[] Atomic(CommandKind kind, byte[][] parts)
    {
        var all = parts.SelectMany(static part => part).ToArray();
        var header = new byte[CommandSequence.HeaderBytes];
        AtomicCommands.WriteHeader(header, kind, all.Length);
        return [.. header, .. all];
    }

    public LogEntry Purge(string topic, long beforeOffset = -1) => Of(PurgeCommand(topic, beforeOffset));

    public static byte[] PurgeCommand(string topic, long beforeOffset) =>
        Metadata(into => TopicCommands.WritePurgeTopic(into, topic, beforeOffset));

    public static byte[] Metadata(Action<IBufferWriter<byte>> write)
    {
        var buffer = new ArrayBufferWriter<byte>();
        write(buffer);
        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>A batch of empty records: two bytes each.</summary>
    public static byte[] Batch(int records) =>
        Enumerable.Repeat(new byte[] { 0x0A, 0x00 }, records).SelectMany(bytes => bytes).ToArray();

    /// <summary>A batch of records that are due at these times; 0: at once.</summary>
    public static byte[] DelayedBatch(params long[] dueMs) => new RecordBatch
    {
        Records = { dueMs.Select(static each => new Record { DeliverAtUnixMs = each }) },
    }.ToByteArray();

    public static CommandResult Apply(IStateMachine machine, LogEntry entry)
    {
        var results = new CommandResult[entry.Count];
        machine.Apply(entry, results);
        return results[^1];
    }
}
