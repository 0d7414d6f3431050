using System.Collections.Concurrent;
using Broker.Client;

namespace Publisher.Sending;

/// <summary>
/// The brokers, through the client library. Its retries are bounded by its own timeout; the lane's are not.
/// A lane has one sequence on its topic, which in a topic of several partitions counts in each by itself: batches would
/// seem to be out of sequence, and some be stored twice. Such topics are refused, before anything is sent to them.
/// </summary>
internal sealed class BrokerPublisher(IBrokerClient client, IBrokerAdmin admin) : IBrokerPublisher
{
    // Topics of one partition, by what was asked before the first batch. As many as there are lanes.
    private readonly ConcurrentDictionary<string, bool> _plain = new(StringComparer.Ordinal);

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
            if (!_plain.ContainsKey(topic))
            {
                await CheckAsync(topic, cancellationToken);
            }

            var stamp = new ProducerStamp((ulong)producerId, 0, (ulong)sequence);
            var ack = await client.PublishBatchAsync(topic, batch, count, stamp, cancellationToken);
            if (ack.Partition > 0)
            {
                _plain.TryRemove(topic, out _); // It was deleted, and made again with several.
            }

            return new BatchAck(ack.Offset, ack.Duplicate);
        }
        catch (BrokerClientException e)
        {
            throw new BrokerRefusedException(Judge(e), e.Message, e);
        }
    }

    private async Task CheckAsync(string topic, CancellationToken cancellationToken)
    {
        try
        {
            var partitions = (await admin.DescribeTopicAsync(topic, cancellationToken)).Settings.Partitions;
            if (partitions > 1)
            {
                throw new BrokerRefusedException(
                    BrokerRefusal.Permanent,
                    $"Topic '{topic}' has {partitions} partitions, among which the publisher service does not divide "
                    + "messages yet. Publish to it with the client library, or any gRPC client.");
            }
        }
        catch (BrokerClientException unknown) when (unknown.Code == BrokerClientErrorCode.NotFound)
        {
            // The first publish makes it, with one partition.
        }

        _plain[topic] = true;
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
