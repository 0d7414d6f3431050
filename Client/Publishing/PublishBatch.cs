using System.Buffers;

namespace Broker.Client.Publishing;

/// <summary>
/// Records that travel and are answered as one. It fills while it waits for its turn; once it has a stamp, neither its
/// records nor their order change, whatever is retried. All state belongs to its <see cref="TopicProducer"/> and is
/// touched under its lock, except for the callers' waiting, see PublishBatch.Completion.cs.
/// </summary>
internal sealed partial class PublishBatch
{
    private readonly int _limitBytes;
    private readonly int _limitRecords;
    private byte[]? _rented;
    private readonly ReadOnlyMemory<byte> _given;
    private int _references = 1;

    /// <summary>A batch to be filled.</summary>
    public PublishBatch(TopicProducer producer, long deadlineAt, int limitBytes, int limitRecords, int expectedBytes)
    {
        Producer = producer;
        DeadlineAt = deadlineAt;
        _limitBytes = limitBytes;
        _limitRecords = limitRecords;
        _rented = ArrayPool<byte>.Shared.Rent(expectedBytes);
    }

    /// <summary>A batch that the caller has encoded and stamped.</summary>
    public PublishBatch(
        TopicProducer producer, long deadlineAt, ReadOnlyMemory<byte> encoded, int count, ProducerStamp stamp)
    {
        Producer = producer;
        DeadlineAt = deadlineAt;
        _given = encoded;
        SizeBytes = encoded.Length;
        Count = count;
        Stamp = stamp;
        NamesPartition = true;
    }

    public TopicProducer Producer { get; }

    /// <summary>Timestamp at which its callers get a timeout.</summary>
    public long DeadlineAt { get; }

    public int SizeBytes { get; private set; }

    public int Count { get; private set; }

    public ProducerStamp Stamp { get; set; }

    /// <summary>
    /// Whether the brokers cannot tell its partition by keys: it is told them, when the producer knows one.
    /// </summary>
    public bool NamesPartition { get; private set; }

    /// <summary>Whether an answer is awaited.</summary>
    public bool InFlight { get; private set; }

    /// <summary>Names the try whose answer is awaited; answers to older tries are dropped.</summary>
    public ulong Correlation { get; private set; }

    public long SentAt { get; private set; }

    public long FirstSentAt { get; private set; }

    public int Tries { get; private set; }

    /// <summary>
    /// Whether it was sent while an older batch was under way: only then can a gap in the sequence heal by itself.
    /// </summary>
    public bool SentBehindOthers { get; private set; }

    /// <summary>Whether some try ended without an answer, so that it may be stored.</summary>
    public bool Uncertain { get; set; }

    /// <summary>Who answered last; null: nobody yet.</summary>
    public Uri? AnsweredBy { get; set; }

    /// <summary>Whether the last answer was that the broker has no room, or is too busy: it says what to do.</summary>
    public bool IsOverloaded { get; set; }

    /// <summary>Who answered what at the last try.</summary>
    public string LastError { get; set; } = "no broker was tried yet";

    public ReadOnlyMemory<byte> Encoded => _rented is null ? _given : _rented.AsMemory(0, SizeBytes);

    public bool HasRoomFor(int sizeBytes) =>
        Count < _limitRecords && (Count == 0 || SizeBytes + sizeBytes <= _limitBytes);

    /// <summary>Adds a record; returns its place in the batch.</summary>
    public short Append(BrokerMessage message, int sizeBytes)
    {
        var needed = SizeBytes + sizeBytes;
        if (needed > _rented!.Length)
        {
            var larger = ArrayPool<byte>.Shared.Rent(Math.Max(needed, Math.Min(_rented.Length * 2, _limitBytes)));
            _rented.AsSpan(0, SizeBytes).CopyTo(larger);
            ArrayPool<byte>.Shared.Return(_rented);
            _rented = larger;
        }

        RecordBatchEncoder.Write(message, _rented.AsSpan(SizeBytes, sizeBytes));
        SizeBytes = needed;
        NamesPartition |= message.Key.IsEmpty || message.Partition is not null;
        return (short)Count++;
    }

    public void Sent(ulong correlation, long now, bool behindOthers)
    {
        InFlight = true;
        Correlation = correlation;
        SentAt = now;
        FirstSentAt = Tries == 0 ? now : FirstSentAt;
        SentBehindOthers = behindOthers;
        Tries++;
    }

    public void Resolved() => InFlight = false;

    /// <summary>How often it doubled its patience: 0 to 3.</summary>
    public int PatienceDoublings => Math.Min(Tries - 1, 3);

    /// <summary>
    /// Keeps the bytes: a stream that hangs may still read them after another one has brought the answer.
    /// </summary>
    public void AddReference() => Interlocked.Increment(ref _references);

    public void Release()
    {
        if (Interlocked.Decrement(ref _references) == 0 && _rented is { } rented)
        {
            _rented = null;
            ArrayPool<byte>.Shared.Return(rented);
        }
    }
}
