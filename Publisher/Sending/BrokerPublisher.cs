using Broker.Client;

namespace Publisher.Sending;

/// <summary>
/// The brokers, through the client library. Its retries are bounded by its own timeout; the lane's are not.
/// </summary>
internal sealed class BrokerPublisher(BrokerClient client) : IBrokerPublisher
{
    public async Task<BatchAck> PublishAsync(
        string topic,
        ReadOnlyMemory<byte> batch,
        int count,
        long producerId,
        long sequence,
        CancellationToken cancellationToken)
    {
        try
        {
            var stamp = new ProducerStamp((ulong)producerId, 0, (ulong)sequence);
            var ack = await client.PublishBatchAsync(topic, batch, count, stamp, cancellationToken);
            return new BatchAck(ack.Offset, ack.Duplicate);
        }
        catch (BrokerClientException e)
        {
            throw new BrokerRefusedException(Judge(e.Code), e.Message, e);
        }
    }

    // ResourceExhausted is overload here: sizes were checked against the brokers' limits before the message was stored.
    private static BrokerRefusal Judge(BrokerClientErrorCode code) => code switch
    {
        BrokerClientErrorCode.InvalidArgument => BrokerRefusal.Permanent,
        BrokerClientErrorCode.FailedPrecondition => BrokerRefusal.OutOfSequence,
        _ => BrokerRefusal.Transient,
    };
}
