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
            throw new BrokerRefusedException(Judge(e), e.Message, e);
        }
    }

    // ResourceExhausted is overload here: sizes were checked against the brokers' limits before the message was stored.
    // Of preconditions only those on the sequence are the lane's to mend; what else a broker cannot do now, it can do
    // later.
    private static BrokerRefusal Judge(BrokerClientException refusal) => refusal.Code switch
    {
        BrokerClientErrorCode.InvalidArgument => BrokerRefusal.Permanent,
        BrokerClientErrorCode.FailedPrecondition
            when refusal.Reason is "" or "OUT_OF_SEQUENCE" or "PRODUCER_FENCED" => BrokerRefusal.OutOfSequence,
        _ => BrokerRefusal.Transient,
    };
}
