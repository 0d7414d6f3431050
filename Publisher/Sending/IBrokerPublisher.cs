namespace Publisher.Sending;

/// <summary>The brokers' answer for one batch. Offset -1: a duplicate whose offset they no longer know.</summary>
internal readonly record struct BatchAck(long BaseOffset, bool Duplicate);

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
    /// Publishes one encoded RecordBatch under the stamp (producer, epoch 0, sequence). Calls for one topic are sent in
    /// the order in which they are made. Throws <see cref="BrokerRefusedException"/>.
    /// </summary>
    Task<BatchAck> PublishAsync(
        string topic,
        ReadOnlyMemory<byte> batch,
        int count,
        long producerId,
        long sequence,
        CancellationToken cancellationToken);
}
