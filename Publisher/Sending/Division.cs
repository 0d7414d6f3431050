using Broker.Client.Publishing;
using Broker.Protocol.V1;
using Google.Protobuf;
using PublishTicket = Publisher.Outbox.PublishTicket;

namespace Publisher.Sending;

/// <summary>
/// How stored chunks are divided among the partitions of their topic: each record goes to the partition of its key, in
/// its order, and gets a stamp that counts there. Records without a key go together to any one. How many partitions a
/// topic has is not known while brokers are away, so this is done when a chunk is to be sent, and stored before it is:
/// who sends the rows again after a crash sends the same parts under the same stamps.
/// </summary>
internal sealed class Division
{
    private readonly List<Part> _parts = [];

    /// <param name="sources">With their batches, of one producer, topic and partition.</param>
    /// <param name="partitions">How many the topic has.</param>
    /// <param name="stamps">Those that are next. They are taken when the rows have them.</param>
    public Division(IReadOnlyList<Chunk> sources, int partitions, PartitionStamps stamps)
    {
        Sources = sources;
        Rows = sources.Sum(static source => source.Count);
        (OldFirsts, OldIndexes) = (new long[Rows], new int[Rows]);
        (Producers, Partitions, Firsts, Indexes) = (new long[Rows], new int[Rows], new long[Rows], new int[Rows]);
        var keyless = Random.Shared.Next(partitions);
        var open = new Dictionary<int, Part>();
        var at = 0;
        foreach (var source in sources)
        {
            var records = RecordBatch.Parser.ParseFrom(source.Batch).Records;
            for (var i = 0; i < records.Count; i++, at++)
            {
                var partition = records[i].Key.IsEmpty ? keyless : KeyPartition.Of(records[i].Key.Span, partitions);
                var sizeBytes = records[i].CalculateSize();
                var part = PartFor(sizeBytes, partition, open, stamps);
                (OldFirsts[at], OldIndexes[at]) = (source.FirstSequence, i);
                (Producers[at], Partitions[at]) = (part.ProducerId, partition);
                (Firsts[at], Indexes[at]) = (part.FirstSequence, part.Batch.Records.Count);
                part.Add(records[i], sizeBytes, source.Ids[i], source.Waiters?[i] ?? default);
            }
        }

        Parts = [.. _parts.Select(part => part.ToChunk(sources[0].Topic))];
    }

    public IReadOnlyList<Chunk> Sources { get; }

    /// <summary>What is sent in their place, in an order that is right for each partition.</summary>
    public IReadOnlyList<Chunk> Parts { get; }

    public int Rows { get; }

    /// <summary>Row by row: the first sequence of its source, and its place there.</summary>
    public long[] OldFirsts { get; }

    public int[] OldIndexes { get; }

    /// <summary>Row by row: the stamp of its part, and its place there.</summary>
    public long[] Producers { get; }

    public int[] Partitions { get; }

    public long[] Firsts { get; }

    public int[] Indexes { get; }

    private Part PartFor(int sizeBytes, int partition, Dictionary<int, Part> open, PartitionStamps stamps)
    {
        var found = open.TryGetValue(partition, out var part);
        if (!found || part!.Batch.Records.Count == PublisherLimits.ChunkRows
            || part.SizeBytes + sizeBytes > PublisherLimits.ChunkBytes)
        {
            var (producerId, next) = stamps.Next(partition);
            part = new Part(producerId, partition, found ? part!.FirstSequence + part.Batch.Records.Count : next);
            open[partition] = part;
            _parts.Add(part);
        }

        return part;
    }

    private sealed class Part(long producerId, int partition, long firstSequence)
    {
        private readonly List<long> _ids = [];
        private readonly List<(PublishTicket? Ticket, int Index)> _waiters = [];

        public long ProducerId => producerId;

        public long FirstSequence => firstSequence;

        public RecordBatch Batch { get; } = new();

        public int SizeBytes { get; private set; }

        public void Add(Record record, int sizeBytes, long id, (PublishTicket? Ticket, int Index) waiter)
        {
            Batch.Records.Add(record);
            SizeBytes += sizeBytes;
            _ids.Add(id);
            _waiters.Add(waiter);
        }

        public Chunk ToChunk(string topic)
        {
            var batch = Batch.ToByteArray();
            return new Chunk(producerId, topic, firstSequence, _ids.Count, batch.Length)
            {
                Partition = partition,
                Ids = _ids,
                Batch = batch,
                Waiters = _waiters.Exists(static waiter => waiter.Ticket is not null) ? [.. _waiters] : null,
            };
        }
    }
}

/// <summary>
/// The next stamp in each partition of a lane's topic: contiguous from 0 under one producer id, as KIP-98 asks, until a
/// hole forces a partition under another one.
/// </summary>
internal sealed class PartitionStamps
{
    private readonly long _producerId = SequenceBook.DrawId();
    private readonly Dictionary<int, (long ProducerId, long Next)> _next = [];

    public (long ProducerId, long Next) Next(int partition) =>
        _next.TryGetValue(partition, out var next) ? next : (_producerId, 0);

    /// <summary>These stamps are in the outbox.</summary>
    public void Take(IEnumerable<Chunk> parts)
    {
        foreach (var part in parts)
        {
            _next[part.Partition] = (part.ProducerId, part.FirstSequence + part.Count);
        }
    }

    /// <summary>What of a partition was not sent has gone under another id.</summary>
    public void Restamp(int partition, long oldProducerId, long newProducerId)
    {
        var (producerId, next) = Next(partition);
        if (producerId == oldProducerId)
        {
            _next[partition] = (newProducerId, next);
        }
    }
}
