using System.Buffers.Binary;
using Broker.Domain;
using Broker.Replication;
using Broker.Topics;

namespace Broker.Tests.Simulation;

/// <summary>
/// One attempt of a client to publish one record, whose value is a number that no other publish has. An answer of a
/// process that has crashed since reaches nobody.
/// </summary>
internal sealed class PublishProposal(
    ReplicaNode node, string topic, PublishStamp stamp, long number, Action<CommandResult?, BrokerException?> answer)
    : Proposal
{
    /// <summary>A RecordBatch of one record with a value of 8 bytes: field 1, length 10; field 2, length 8.</summary>
    private static ReadOnlySpan<byte> BatchHeader => [0x0A, 0x0A, 0x12, 0x08];

    public long Number => number;

    public bool IsAnswered { get; private set; }

    public override int SizeBytes => CommandCodec.PublishSizeBytes(topic, BatchHeader.Length + sizeof(long));

    public override void Encode(Span<byte> destination)
    {
        Span<byte> batch = stackalloc byte[BatchHeader.Length + sizeof(long)];
        BatchHeader.CopyTo(batch);
        BinaryPrimitives.WriteInt64LittleEndian(batch[BatchHeader.Length..], number);
        CommandCodec.WritePublish(destination, topic, stamp, recordCount: 1, batch);
    }

    public override void Complete(in CommandResult result)
    {
        var copy = result;
        node.Acknowledge(this);
        Answer(() => answer(copy, null));
    }

    public override void Fail(BrokerException refusal) => Answer(() => answer(null, refusal));

    private void Answer(Action tell)
    {
        World.Check(!IsAnswered, $"publish {number} is answered once");
        IsAnswered = true;
        tell();
    }
}
