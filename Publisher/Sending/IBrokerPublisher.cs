namespace Publisher.Sending;

/// <summary>The brokers' answer for one batch. Offset -1: a duplicate whose offset they no longer know.</summary>
internal readonly record struct BatchAck(long BaseOffset, bool Duplicate, int Partition = 0);

/// <summary>What the brokers' refusal of a batch means for whoever sends it.</summary>
internal enum BrokerRefusal
{
    /// <summary>No quorum, no connection, overload, outcome unknown: send the same batch again later.</summary>
    Transient,

    /// <summary>An earlier batch of the producer is missing on this topic.</summary>
    OutOfSequence,

    /// <summary>Sending it again cannot succeed.</summary>
    Permanent,
}

internal sealed class BrokerRefusedException(BrokerRefusal refusal, string message, Exception? inner = null)
    : Exception(message, inner)
{
    public BrokerRefusal Refusal { get; } = refusal;
}

/// <summary>All that the publisher asks of the brokers.</summary>
internal interface IBrokerPublisher
{
    /// <summary>
    /// How many partitions a topic has; 0: there is no such topic yet. What was once learnt is told again without
    /// asking, unless <paramref name="again"/> is set: then what any broker has acknowledged is not missed. Throws
    /// <see cref="BrokerRefusedException"/>.
    /// </summary>
    ValueTask<int> PartitionsAsync(string topic, bool again, CancellationToken cancellationToken);

    /// <summary>
    /// Publishes one encoded RecordBatch under the stamp (producer, epoch 0, sequence), to the partition, or to the one
    /// of its keys (<see cref="Chunk.Undivided"/>). Calls for one topic are sent in the order in which they are made.
    /// Throws <see cref="BrokerRefusedException"/>.
    /// </summary>
    Task<BatchAck> PublishAsync(
        string topic,
        int partition,
        ReadOnlyMemory<byte> batch,
        int count,
        long producerId,
        long sequence,
        CancellationToken cancellationToken);
}
