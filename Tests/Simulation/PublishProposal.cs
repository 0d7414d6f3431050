using System.Buffers.Binary;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Replication;
using Broker.Topics;
using Google.Protobuf;

namespace Broker.Tests.Simulation;

/// <summary>
/// One attempt of a client to publish a batch, whose records' values are a number that no other batch has. An answer of
/// a process that has crashed since reaches nobody.
/// </summary>
internal sealed class PublishProposal(
    ReplicaNode node,
    string topic,
    PublishStamp stamp,
    int count,
    long number,
    long dueMs,
    Action<CommandResult?, BrokerException?> answer)
    : Proposal
{
    /// <summary>Field 1 of RecordBatch and the record's length; field 2 of Record and the value's length.</summary>
    private static ReadOnlySpan<byte> RecordHeader => [0x0A, 0x0A, 0x12, 0x08];

    /// <summary>Records that are delayed have the time before their value.</summary>
    private readonly byte[]? _delayed = dueMs == 0 ? null : Delayed(count, number, dueMs);

    public long Number => number;

    public bool IsAnswered { get; private set; }

    public override int SizeBytes => TopicCommands.PublishSizeBytes(
        topic, _delayed?.Length ?? count * RecordBytes, isDelayed: _delayed is not null);

    private static int RecordBytes => RecordHeader.Length + sizeof(long);

    /// <summary>The command by itself.</summary>
    public static byte[] Encode(
        string topic,
        PublishStamp stamp,
        int count,
        long number,
        long? expectedOffset = null,
        int topicNumber = -1)
    {
        var size = TopicCommands.PublishSizeBytes(topic, count * RecordBytes, expectedOffset, topicNumber);
        var command = new byte[size];
        Write(command, topic, stamp, count, number, expectedOffset, topicNumber);
        return command;
    }

    /// <summary>A batch of one record.</summary>
    public static byte[] Batch(long number)
    {
        var batch = new byte[RecordBytes];
        Write(batch, number);
        return batch;
    }

    public override void Encode(Span<byte> destination)
    {
        if (_delayed is not null)
        {
            TopicCommands.WritePublish(destination, topic, stamp, count, _delayed, isDelayed: true);
            return;
        }

        Write(destination, topic, stamp, count, number, null, -1);
    }

    private static void Write(
        Span<byte> destination,
        string topic,
        PublishStamp stamp,
        int count,
        long number,
        long? expectedOffset,
        int topicNumber)
    {
        Span<byte> batch = stackalloc byte[count * RecordBytes];
        for (var record = batch; !record.IsEmpty; record = record[RecordBytes..])
        {
            Write(record, number);
        }

        TopicCommands.WritePublish(destination, topic, stamp, count, batch, expectedOffset, topicNumber);
    }

    private static void Write(Span<byte> record, long number)
    {
        RecordHeader.CopyTo(record);
        BinaryPrimitives.WriteInt64LittleEndian(record[RecordHeader.Length..], number);
    }

    private static byte[] Delayed(int count, long number, long dueMs)
    {
        var time = new Record { DeliverAtUnixMs = dueMs }.ToByteArray();
        byte[] record = [.. time, .. RecordHeader[2..], .. BitConverter.GetBytes(number)];
        return [.. Enumerable.Repeat<byte[]>([RecordHeader[0], (byte)record.Length, .. record], count).SelectMany(
            static each => each)];
    }

    public override void Complete(in CommandResult result)
    {
        var copy = result;
        node.Acknowledge(number);
        Answer(() => answer(copy, null));
    }

    public override void Fail(BrokerException refusal)
    {
        node.NoteRefusal(refusal);
        Answer(() => answer(null, refusal));
    }

    private void Answer(Action tell)
    {
        World.Check(!IsAnswered, $"publish {number} is answered once");
        IsAnswered = true;
        tell();
    }
}
