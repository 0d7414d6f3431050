using System.Collections.Concurrent;
using System.Security.Cryptography;

namespace Broker.Client.Publishing;

/// <summary>
/// Brings the messages of one topic to the producers of its partitions. How many those are, the answer to the first
/// message tells; the others wait for it, as they would behind it, and go on in the order of the calls. A message with
/// a key goes to the partition of its key; those without take turns, some at a time, so that batches are not small.
/// </summary>
internal sealed class TopicPublisher(PublishContext context, string topic, ulong producerId)
{
    /// <summary>As many as a topic may have.</summary>
    public const int MaxPartitions = 1_000;

    /// <summary>Messages without a key that go to one partition before the next has its turn.</summary>
    private const int MostInTurn = 64;

    private readonly Lock _lock = new();
    private readonly Queue<Waiting> _waiting = new();
    private readonly ConcurrentDictionary<int, TopicProducer> _byPartition = new();
    private readonly List<TopicProducer> _all = [];
    private TopicProducer? _first;
    private bool _isAsking;
    private int _turn;
    private int _inTurn;

    /// <summary>0: not known.</summary>
    private int _partitions;

    /// <summary>It has one partition, and nothing waits that must come before what is added now.</summary>
    private volatile bool _isPlain;

    /// <summary>
    /// Adds a message that the gate has let in. The producer, where there is one, is to be pumped outside of locks.
    /// </summary>
    public PublishTicket Append(BrokerMessage message, int sizeBytes, out TopicProducer? toPump)
    {
        if (_isPlain && message.Partition is null or 0)
        {
            return Append(_first!, message, sizeBytes, null, out toPump);
        }

        if (message.Partition is { } partition)
        {
            return Append(ProducerOf(partition), message, sizeBytes, null, out toPump);
        }

        lock (_lock)
        {
            if (_partitions > 0)
            {
                return Append(ProducerFor(message), message, sizeBytes, null, out toPump);
            }

            if (!_isAsking)
            {
                _isAsking = true;
                return Ask(message, sizeBytes, null, out toPump);
            }

            // The caller may change it when this returns.
            var deadlineAt = context.After(context.Now, context.Options.PublishTimeout);
            var waiting = new Waiting(Copy(message), sizeBytes, deadlineAt);
            _waiting.Enqueue(waiting);
            toPump = null;
            return new PublishTicket(waiting.Ticket.Task);
        }
    }

    public void Close(Func<bool, BrokerClientException> error)
    {
        TopicProducer[] all;
        lock (_lock)
        {
            _first ??= Make(producerId);
            all = [.. _all];
        }

        foreach (var producer in all)
        {
            producer.Close(error);
        }
    }

    private PublishTicket Ask(BrokerMessage message, int sizeBytes, long? deadlineAt, out TopicProducer? toPump)
    {
        _first ??= Make(producerId);
        var ticket = Append(_first, message, sizeBytes, deadlineAt, out toPump);
        _ = GoOnAfterAsync(_first, ticket);
        return ticket;
    }

    private async Task GoOnAfterAsync(TopicProducer asked, PublishTicket ticket)
    {
        // Who is refused at once must not go on within the call of the one before.
        await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        try
        {
            await ticket.AckAsync(CancellationToken.None);
        }
        catch (BrokerClientException)
        {
            // Its caller hears of it; the next message asks.
        }

        var toPump = new HashSet<TopicProducer>();
        lock (_lock)
        {
            GoOn(asked, toPump);
        }

        foreach (var producer in toPump)
        {
            producer.Pump();
        }
    }

    private void GoOn(TopicProducer asked, HashSet<TopicProducer> toPump)
    {
        if (asked.Partitions > 0 && asked == _first)
        {
            if (asked.Partitions > 1)
            {
                asked.Partition = asked.AnsweredPartition;
                _byPartition.TryAdd(asked.AnsweredPartition, asked);
            }

            _partitions = asked.Partitions;
        }

        while (_waiting.TryDequeue(out var waiting))
        {
            TopicProducer? producer;
            var (message, sizeBytes, deadlineAt) = waiting;
            var ticket = _partitions > 0
                ? Append(ProducerFor(message), message, sizeBytes, deadlineAt, out producer)
                : Ask(message, sizeBytes, deadlineAt, out producer);
            waiting.Ticket.SetResult(ticket);
            if (producer is not null)
            {
                toPump.Add(producer);
            }

            if (_partitions == 0)
            {
                return;
            }
        }

        _isAsking = false;
        _isPlain = _partitions == 1;
    }

    private PublishTicket Append(
        TopicProducer producer, BrokerMessage message, int sizeBytes, long? deadlineAt, out TopicProducer? toPump)
    {
        var ticket = producer.Append(message, sizeBytes, deadlineAt, out var mayPump, out var beganBatch);
        if (message.Key.IsEmpty && message.Partition is null && (beganBatch || ++_inTurn >= MostInTurn))
        {
            _turn++;
            _inTurn = 0;
        }

        toPump = mayPump ? producer : null;
        return ticket;
    }

    private TopicProducer ProducerFor(BrokerMessage message) => _partitions == 1
        ? _first!
        : ProducerOf(message.Key.IsEmpty
            ? (int)((uint)_turn % (uint)_partitions)
            : KeyPartition.Of(message.Key.Span, _partitions));

    private TopicProducer ProducerOf(int partition)
    {
        if (_byPartition.TryGetValue(partition, out var known))
        {
            return known;
        }

        lock (_lock)
        {
            if (!_byPartition.TryGetValue(partition, out known))
            {
                // Of its own, as its sequences are: another one of this topic may come to the same partition.
                known = Make(BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(sizeof(ulong))) | 1);
                known.Partition = partition;
                _byPartition[partition] = known;
            }

            return known;
        }
    }

    private TopicProducer Make(ulong id)
    {
        var producer = new TopicProducer(context, topic, id) { OnDoubt = Doubt };
        _all.Add(producer);
        return producer;
    }

    /// <summary>
    /// The brokers say that a batch cannot be: the topic may have been made again with other partitions. The next
    /// message asks anew.
    /// </summary>
    private void Doubt()
    {
        lock (_lock)
        {
            if (_partitions > 0 && _all.Count <= MaxPartitions)
            {
                (_partitions, _isPlain) = (0, false);
                _byPartition.Clear();
                _first = Make(BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(sizeof(ulong))) | 1);
            }
        }
    }

    private static BrokerMessage Copy(BrokerMessage message) => message with
    {
        Key = message.Key.ToArray(),
        Value = message.Value.ToArray(),
        Headers = message.Headers is { } headers
            ? [.. headers.Select(static header =>
                KeyValuePair.Create(header.Key, (ReadOnlyMemory<byte>)header.Value.ToArray()))]
            : null,
    };

    private sealed record Waiting(BrokerMessage Message, int SizeBytes, long DeadlineAt)
    {
        public TaskCompletionSource<PublishTicket> Ticket { get; } =
            new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
