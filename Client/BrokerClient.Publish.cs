using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Broker.Client.Publishing;
using Broker.Client.Tracing;

namespace Broker.Client;

public sealed partial class BrokerClient
{
    /// <summary>
    /// As many topics as a cluster has. A producer is never forgotten: its sequences would begin anew.
    /// </summary>
    private const int MaxTopics = 100_000;

    private readonly ConcurrentDictionary<string, TopicPublisher> _publishers = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<StampedKey, TopicProducer> _stampedProducers = new();

    /// <summary>
    /// Publishes one message. Messages of a topic (of a partition, where it has several) keep the order of the calls;
    /// there is no need to await one before the next. What waits while earlier batches are under way travels as one
    /// batch, so throughput comes from many calls at a time. A message is stored once, whatever is retried.
    /// </summary>
    /// <param name="topic">Dot-separated tokens, e.g. "orders.eu.created"; 1 to 255 bytes of UTF-8.</param>
    /// <param name="message">
    /// The message; copied before the call returns, unless it must wait for room (MaxBufferedBytes).
    /// </param>
    /// <param name="cancellationToken">
    /// Ends the waiting. A message that is under way may be stored all the same.
    /// </param>
    /// <returns>Its offset, when it is on the disks of a majority of the brokers.</returns>
    /// <exception cref="BrokerClientException">
    /// InvalidArgument: the topic or the message breaks a rule. Unavailable: not stored within PublishTimeout.
    /// OutcomeUnknown: sent, and no answer within PublishTimeout. ResourceExhausted: a limit of the brokers or of
    /// MaxWaitingPublishes. After a message was given up, those behind it on the topic are sent in a new epoch of the
    /// producer (KIP-360); those that may be stored already fail with OutcomeUnknown instead, for a second copy would
    /// not be recognized.
    /// </exception>
    public ValueTask<PublishAck> PublishAsync(
        string topic, BrokerMessage message, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(topic);
        ArgumentNullException.ThrowIfNull(message);
        ObjectDisposedException.ThrowIf(_isClosing, this);
        cancellationToken.ThrowIfCancellationRequested();
        return ClientSpans.IsWanted
            ? PublishTracedAsync(topic, message, cancellationToken)
            : AppendAsync(topic, message, cancellationToken);
    }

    private ValueTask<PublishAck> AppendAsync(string topic, BrokerMessage message, CancellationToken cancellationToken)
    {
        if (!_publishers.TryGetValue(topic, out var publisher)
            && !TryAddPublisher(topic, out publisher, out var refusal))
        {
            return ValueTask.FromException<PublishAck>(refusal);
        }

        if (MessageLimits.Violation(message) is { } violation)
        {
            return ValueTask.FromException<PublishAck>(
                ClientErrors.Invalid($"A message for topic '{topic}' was not taken. {violation}"));
        }

        var bytes = RecordBatchEncoder.SizeBytes(message);
        if (!_publishing.Gate.TryEnter(bytes))
        {
            return WaitForRoomAsync(
                topic,
                bytes,
                () =>
                {
                    var late = publisher.Append(message, bytes, out var producer);
                    return (producer, late);
                },
                cancellationToken);
        }

        var ticket = publisher.Append(message, bytes, out var toPump);
        toPump?.Pump();
        return ticket.AckAsync(cancellationToken);
    }

    /// <summary>
    /// Publishes a batch that the caller has encoded and stamped, for those who keep batches and stamps across their
    /// own crashes (an outbox). It is retried within PublishTimeout with the same stamp. Calls with the same topic,
    /// id and epoch are sent in the order of the calls, some at a time; when one fails, those behind it fail as well,
    /// and all are to be sent again in order.
    /// </summary>
    /// <param name="topic">Dot-separated tokens, e.g. "orders.eu.created"; 1 to 255 bytes of UTF-8.</param>
    /// <param name="encodedBatch">
    /// An encoded broker.v1.RecordBatch of at most 4 MiB less 1 KiB, see <see cref="RecordBatchEncoder"/>. Its memory
    /// must never be changed after the call: a late retry may still be reading it when the answer is there.
    /// </param>
    /// <param name="count">The number of records in it, at most 65,536.</param>
    /// <param name="stamp">
    /// Its id, epoch and sequence: the same ones at every try. See <see cref="ProducerStamp"/> for the rules.
    /// </param>
    /// <param name="cancellationToken">Ends the waiting. A batch that is under way may be stored all the same.</param>
    /// <returns>The offset of its first record, when it is on the disks of a majority of the brokers.</returns>
    /// <exception cref="BrokerClientException">
    /// As PublishAsync. FailedPrecondition: an earlier batch of the producer is missing, or a newer epoch has
    /// published.
    /// </exception>
    public ValueTask<PublishAck> PublishBatchAsync(
        string topic,
        ReadOnlyMemory<byte> encodedBatch,
        int count,
        ProducerStamp stamp,
        CancellationToken cancellationToken = default) =>
        CheckBatchAsync(
            new StampedKey(topic, -1, stamp.Id, stamp.Epoch), encodedBatch, count, stamp, cancellationToken);

    /// <summary>
    /// The same for one partition of a topic, whatever the keys of its records. Without it all of them must belong to
    /// one partition; sequences count in each by itself.
    /// </summary>
    /// <param name="topic">As above.</param>
    /// <param name="partition">The partition, from 0.</param>
    /// <param name="encodedBatch">As above.</param>
    /// <param name="count">The number of records in it, at most 65,536.</param>
    /// <param name="stamp">As above; per partition.</param>
    /// <param name="cancellationToken">Ends the waiting. A batch that is under way may be stored all the same.</param>
    /// <returns>The offset of its first record, when it is on the disks of a majority of the brokers.</returns>
    /// <exception cref="BrokerClientException">As above. InvalidArgument: no such partition, too.</exception>
    public ValueTask<PublishAck> PublishPartitionBatchAsync(
        string topic,
        int partition,
        ReadOnlyMemory<byte> encodedBatch,
        int count,
        ProducerStamp stamp,
        CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(partition);
        return CheckBatchAsync(
            new StampedKey(topic, partition, stamp.Id, stamp.Epoch), encodedBatch, count, stamp, cancellationToken);
    }

    private ValueTask<PublishAck> CheckBatchAsync(
        StampedKey key,
        ReadOnlyMemory<byte> encodedBatch,
        int count,
        ProducerStamp stamp,
        CancellationToken cancellationToken)
    {
        var topic = key.Topic;
        ArgumentNullException.ThrowIfNull(topic);
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        ArgumentOutOfRangeException.ThrowIfZero(stamp.Id);
        ObjectDisposedException.ThrowIf(_isClosing, this);
        cancellationToken.ThrowIfCancellationRequested();
        if (!TopicName.ValidateForPublish(topic, out var reason))
        {
            return ValueTask.FromException<PublishAck>(ClientErrors.Invalid(reason));
        }

        if (encodedBatch.IsEmpty || encodedBatch.Length > MessageLimits.BatchBytes)
        {
            return ValueTask.FromException<PublishAck>(ClientErrors.Invalid(
                $"A batch for topic '{topic}' has {encodedBatch.Length:N0} bytes; "
                + $"expected 1 to {MessageLimits.BatchBytes:N0}."));
        }

        if (count > MessageLimits.RecordsPerBatch)
        {
            return ValueTask.FromException<PublishAck>(ClientErrors.Invalid(
                $"A batch for topic '{topic}' has {count:N0} records; "
                + $"expected 1 to {MessageLimits.RecordsPerBatch:N0}."));
        }

        return ClientSpans.IsWanted
            ? EnqueueTracedAsync(key, encodedBatch, count, stamp, cancellationToken)
            : EnqueueAsync(key, encodedBatch, count, stamp, cancellationToken);
    }

    private ValueTask<PublishAck> EnqueueAsync(
        StampedKey key,
        ReadOnlyMemory<byte> encodedBatch,
        int count,
        ProducerStamp stamp,
        CancellationToken cancellationToken)
    {
        if (!_publishing.Gate.TryEnter(encodedBatch.Length))
        {
            return WaitForRoomAsync(
                key.Topic, encodedBatch.Length, () => Enqueue(key, encodedBatch, count, stamp), cancellationToken);
        }

        var (producer, ticket) = Enqueue(key, encodedBatch, count, stamp);
        producer?.Pump();
        return ticket.AckAsync(cancellationToken);
    }

    /// <summary>
    /// The message takes the trace along: the span of its publish, or the activity of this moment when nobody listens
    /// to this library's.
    /// </summary>
    private async ValueTask<PublishAck> PublishTracedAsync(
        string topic, BrokerMessage message, CancellationToken cancellationToken)
    {
        using var span = ClientSpans.StartPublish(topic, ActivityKind.Producer);
        var traced = (span ?? Activity.Current) is { Recorded: true, IdFormat: ActivityIdFormat.W3C } current
            ? TraceHeader.Add(message, current.Context)
            : message;
        return await NoteAsync(span, AppendAsync(topic, traced, cancellationToken));
    }

    /// <summary>The records of an encoded batch stay as they are: what they bring of traces goes on.</summary>
    private async ValueTask<PublishAck> EnqueueTracedAsync(
        StampedKey key,
        ReadOnlyMemory<byte> encodedBatch,
        int count,
        ProducerStamp stamp,
        CancellationToken cancellationToken)
    {
        using var span = ClientSpans.StartPublish(key.Topic, ActivityKind.Client, count);
        return await NoteAsync(span, EnqueueAsync(key, encodedBatch, count, stamp, cancellationToken));
    }

    private static async ValueTask<PublishAck> NoteAsync(Activity? span, ValueTask<PublishAck> publish)
    {
        try
        {
            var ack = await publish;
            span?.SetTag("messaging.destination.partition.id", ack.Partition.ToString(CultureInfo.InvariantCulture));
            span?.SetTag("broker.offset", ack.Offset);
            return ack;
        }
        catch (BrokerClientException failure)
        {
            span.Fail(failure.Code.ToString());
            throw;
        }
    }

    private bool TryAddPublisher(
        string topic,
        [NotNullWhen(true)] out TopicPublisher? publisher,
        [NotNullWhen(false)] out BrokerClientException? refusal)
    {
        publisher = null;
        if (!TopicName.ValidateForPublish(topic, out var reason))
        {
            refusal = ClientErrors.Invalid(reason);
            return false;
        }

        if (_publishers.Count >= MaxTopics)
        {
            refusal = ClientErrors.TooManyTopics(topic, MaxTopics);
            return false;
        }

        refusal = null;
        publisher = _publishers.GetOrAdd(
            topic, static (name, client) => new TopicPublisher(client._publishing, name, client._producerId), this);
        return true;
    }

    private ValueTask<PublishAck> WaitForRoomAsync(
        string topic,
        int bytes,
        Func<(TopicProducer? Producer, PublishTicket Ticket)> enter,
        CancellationToken cancellationToken)
    {
        var deadline = _publishing.After(_publishing.Now, _options.PublishTimeout);
        var waiter = new GateWaiter(topic, bytes, deadline, enter);
        return _publishing.Gate.TryWait(waiter)
            ? waiter.AckAsync(cancellationToken)
            : ValueTask.FromException<PublishAck>(ClientErrors.TooManyWaiting(topic, _options.MaxWaitingPublishes));
    }

    private (TopicProducer? Producer, PublishTicket Ticket) Enqueue(
        StampedKey key, ReadOnlyMemory<byte> encoded, int count, ProducerStamp stamp)
    {
        while (true)
        {
            var producer = _stampedProducers.GetOrAdd(
                key,
                static (key, client) => new TopicProducer(
                    client._publishing, key.Topic, key.Id, idle => client.Forget(key, idle))
                {
                    Partition = key.Partition,
                },
                this);
            if (producer.TryEnqueue(encoded, count, stamp) is { } ticket)
            {
                return (producer, ticket);
            }
        }
    }

    /// <summary>
    /// Forgets a stamped producer that has nothing under way: an outbox may go through any number of ids.
    /// </summary>
    private void Forget(StampedKey key, TopicProducer idle) =>
        _stampedProducers.TryRemove(new KeyValuePair<StampedKey, TopicProducer>(key, idle));

    private void ClosePublishing()
    {
        _publishing.Gate.FailOverdue(long.MaxValue, waiter => Disposed(waiter.Topic)(false));
        foreach (var (topic, publisher) in _publishers)
        {
            publisher.Close(Disposed(topic));
        }

        foreach (var producer in _stampedProducers.Values)
        {
            producer.Close(Disposed(producer.Topic));
        }

        Func<bool, BrokerClientException> Disposed(string topic) =>
            maybeStored => ClientErrors.Disposed(topic, maybeStored, _options.DrainTimeout);
    }

    /// <summary>Whose sequences the stamps of a caller count.</summary>
    /// <param name="Topic">The topic.</param>
    /// <param name="Partition">-1: not named.</param>
    /// <param name="Id">Of the producer.</param>
    /// <param name="Epoch">Of the producer.</param>
    private readonly record struct StampedKey(string Topic, int Partition, ulong Id, uint Epoch);
}
