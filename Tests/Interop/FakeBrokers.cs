using System.Collections.Concurrent;
using System.Text;
using Broker.Protocol.V1;
using Publisher.Sending;

namespace Broker.Tests.Interop;

/// <summary>
/// The brokers as the publisher sees them: topics with offsets, and deduplication by the rules of the real ones, the
/// sharp edge included: an unknown producer may begin at any sequence, and what lies before is then taken for a
/// duplicate.
/// </summary>
internal sealed class FakeBrokers : IBrokerPublisher
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, List<Record>> _topics = [];
    private readonly Dictionary<(string Topic, long Producer), Producer> _producers = [];
    private readonly ConcurrentDictionary<string, int> _sends = new();

    /// <summary>No quorum: nothing is stored.</summary>
    public volatile bool Down;

    /// <summary>Every answer is lost after the batch was stored.</summary>
    public volatile bool LoseAnswers;

    /// <summary>Values that are refused for good.</summary>
    public volatile string? Poison;

    /// <summary>Sends wait here until it is completed.</summary>
    public volatile Task Hold = Task.CompletedTask;

    /// <summary>So many sends fail without being stored.</summary>
    public int FailSends;

    public int Sends(string topic) => _sends.GetValueOrDefault(topic);

    public List<string> Values(string topic) =>
        [.. Records(topic).Select(record => Encoding.UTF8.GetString(record.Value.Span))];

    public List<Record> Records(string topic)
    {
        lock (_lock)
        {
            return [.. _topics.GetValueOrDefault(topic) ?? []];
        }
    }

    public async Task<BatchAck> PublishAsync(
        string topic,
        ReadOnlyMemory<byte> batch,
        int count,
        long producerId,
        long sequence,
        CancellationToken cancellationToken)
    {
        _sends.AddOrUpdate(topic, 1, (_, sends) => sends + 1);
        await Task.Yield();
        await Hold.WaitAsync(cancellationToken);
        if (Down || Interlocked.Decrement(ref FailSends) >= 0)
        {
            throw new BrokerRefusedException(BrokerRefusal.Transient, "No quorum.");
        }

        var ack = Store(topic, RecordBatch.Parser.ParseFrom(batch.Span), count, producerId, sequence);
        return LoseAnswers ? throw new BrokerRefusedException(BrokerRefusal.Transient, "The connection broke.") : ack;
    }

    private BatchAck Store(string topic, RecordBatch batch, int count, long producerId, long sequence)
    {
        lock (_lock)
        {
            var values = batch.Records.Select(record => Encoding.UTF8.GetString(record.Value.Span)).ToList();
            if (values.Count != count || values.Contains(Poison!))
            {
                throw new BrokerRefusedException(BrokerRefusal.Permanent, "Malformed batch.");
            }

            if (!_producers.TryGetValue((topic, producerId), out var producer))
            {
                _producers[(topic, producerId)] = producer = new Producer { Next = sequence };
            }

            if (sequence + count <= producer.Next)
            {
                return new BatchAck(producer.Remembered.GetValueOrDefault(sequence, -1), true);
            }

            if (sequence != producer.Next)
            {
                throw new BrokerRefusedException(
                    BrokerRefusal.OutOfSequence, $"Expected {producer.Next}, not {sequence}.");
            }

            var log = _topics.TryGetValue(topic, out var found) ? found : _topics[topic] = [];
            var offset = log.Count;
            log.AddRange(batch.Records);
            producer.Next = sequence + count;
            producer.Remembered[sequence] = offset;
            return new BatchAck(offset, false);
        }
    }

    private sealed class Producer
    {
        public long Next { get; set; }

        public Dictionary<long, long> Remembered { get; } = [];
    }
}
