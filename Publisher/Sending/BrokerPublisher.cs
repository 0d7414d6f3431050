using System.Collections.Concurrent;
using Broker.Client;

namespace Publisher.Sending;

/// <summary>
/// The brokers, through the client library. Its retries are bounded by its own timeout; the lane's are not.
/// </summary>
internal sealed class BrokerPublisher(IBrokerClient client, IBrokerAdmin admin) : IBrokerPublisher
{
    // By topic; as many as there are lanes. Their number is that of a topic for good, but it may be made again.
    private readonly ConcurrentDictionary<string, int> _partitions = new(StringComparer.Ordinal);

    public async ValueTask<int> PartitionsAsync(string topic, bool again, CancellationToken cancellationToken)
    {
        if (!again && _partitions.TryGetValue(topic, out var known))
        {
            return known;
        }

        try
        {
            var details = await admin.DescribeTopicAsync(topic, linearizable: again, cancellationToken);
            return _partitions[topic] = details.Settings.Partitions ?? 1;
        }
        catch (BrokerClientException e) when (e.Code == BrokerClientErrorCode.NotFound)
        {
            _partitions.TryRemove(topic, out _);
            return 0; // The first publish makes it, as its template says.
        }
        catch (BrokerClientException e)
        {
            throw new BrokerRefusedException(BrokerRefusal.Transient, e.Message, e);
        }
    }

    public async Task<BatchAck> PublishAsync(
        string topic,
        int partition,
        ReadOnlyMemory<byte> batch,
        int count,
        long producerId,
        long sequence,
        CancellationToken cancellationToken)
    {
        try
        {
            var stamp = new ProducerStamp((ulong)producerId, 0, (ulong)sequence);
            var ack = partition >= 0
                ? await client.PublishPartitionBatchAsync(topic, partition, batch, count, stamp, cancellationToken)
                : await client.PublishBatchAsync(topic, batch, count, stamp, cancellationToken);
            return new BatchAck(ack.Offset, ack.Duplicate, ack.Partition);
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
