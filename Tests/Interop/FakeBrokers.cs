using System.Collections.Concurrent;
using System.Text;
using Broker.Client.Publishing;
using Broker.Protocol.V1;
using Publisher.Sending;

namespace Broker.Tests.Interop;

/// <summary>
/// The brokers as the publisher sees them: topics with partitions and offsets, and deduplication by the rules of the
/// real ones, the sharp edge included: an unknown producer may begin at any sequence, and what lies before is then
/// taken for a duplicate.
/// </summary>
internal sealed class FakeBrokers : IBrokerPublisher
{
    private readonly Lock _lock = new();
    private readonly Dictionary<(string Topic, int Partition), List<Record>> _topics = [];
    private readonly Dictionary<(string Topic, int Partition, long Producer), Producer> _producers = [];
    private readonly ConcurrentDictionary<string, int> _partitions = new();
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

    public List<Record> Records(string topic, int partition = 0)
    {
        lock (_lock)
        {
            return [.. _topics.GetValueOrDefault((topic, partition)) ?? []];
        }
    }

    /// <summary>Values of a partition that have a key, or none.</summary>
    public List<string> Values(string topic, int partition, string? key = null) =>
        [.. Records(topic, partition)
            .Where(record => key is null || record.Key.ToStringUtf8() == key)
            .Select(record => record.Value.ToStringUtf8())];

    /// <summary>Makes a topic of several partitions, in place of one of that name.</summary>
    public void Make(string topic, int partitions)
    {
        lock (_lock)
        {
            foreach (var old in _topics.Keys.Where(key => key.Topic == topic).ToList())
            {
                _topics.Remove(old);
            }

            foreach (var old in _producers.Keys.Where(key => key.Topic == topic).ToList())
            {
                _producers.Remove(old);
            }

            _partitions[topic] = partitions;
        }
    }

    /// <summary>The publisher believes this of a topic until it asks again.</summary>
    public ConcurrentDictionary<string, int> Believed { get; } = new();

    public ValueTask<int> PartitionsAsync(string topic, bool again, CancellationToken cancellationToken)
    {
        if (again)
        {
            Believed.TryRemove(topic, out _);
        }

        return ValueTask.FromResult(Believed.TryGetValue(topic, out var believed)
            ? believed
            : _partitions.GetValueOrDefault(topic, _topics.ContainsKey((topic, 0)) ? 1 : 0));
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
        _sends.AddOrUpdate(topic, 1, (_, sends) => sends + 1);
        await Task.Yield();
        await Hold.WaitAsync(cancellationToken);
        if (Down || Interlocked.Decrement(ref FailSends) >= 0)
        {
            throw new BrokerRefusedException(BrokerRefusal.Transient, "No quorum.");
        }

        var ack = Store(topic, partition, RecordBatch.Parser.ParseFrom(batch.Span), count, producerId, sequence);
        return LoseAnswers ? throw new BrokerRefusedException(BrokerRefusal.Transient, "The connection broke.") : ack;
    }

    private BatchAck Store(
        string topic, int wanted, RecordBatch batch, int count, long producerId, long sequence)
    {
        lock (_lock)
        {
            var partition = PartitionOf(topic, wanted, batch);
            var values = batch.Records.Select(record => Encoding.UTF8.GetString(record.Value.Span)).ToList();
            if (values.Count != count || values.Contains(Poison!))
            {
                throw new BrokerRefusedException(BrokerRefusal.Permanent, "Malformed batch.");
            }

            if (!_producers.TryGetValue((topic, partition, producerId), out var producer))
            {
                _producers[(topic, partition, producerId)] = producer = new Producer { Next = sequence };
            }

            if (sequence + count <= producer.Next)
            {
                return new BatchAck(producer.Remembered.GetValueOrDefault(sequence, -1), true, partition);
            }

            if (sequence != producer.Next)
            {
                throw new BrokerRefusedException(
                    BrokerRefusal.OutOfSequence, $"Expected {producer.Next}, not {sequence}.");
            }

            var place = (topic, partition);
            var log = _topics.TryGetValue(place, out var found) ? found : _topics[place] = [];
            var offset = log.Count;
            log.AddRange(batch.Records);
            producer.Next = sequence + count;
            producer.Remembered[sequence] = offset;
            return new BatchAck(offset, false, partition);
        }
    }

    // As broker.proto says of PublishRequest.partition; the batch is stamped, so it is not split.
    private int PartitionOf(string topic, int wanted, RecordBatch batch)
    {
        var partitions = _partitions.GetValueOrDefault(topic, 1);
        if (wanted >= partitions)
        {
            throw new BrokerRefusedException(BrokerRefusal.Permanent, $"There is no partition {wanted}.");
        }

        var ofKeys = batch.Records.Where(record => !record.Key.IsEmpty)
            .Select(record => KeyPartition.Of(record.Key.Span, partitions))
            .Distinct()
            .ToList();
        return wanted >= 0 ? wanted
            : ofKeys.Count <= 1 ? ofKeys.FirstOrDefault()
            : throw new BrokerRefusedException(BrokerRefusal.Permanent, "The keys belong to several partitions.");
    }

    private sealed class Producer
    {
        public long Next { get; set; }

        public Dictionary<long, long> Remembered { get; } = [];
    }
}
