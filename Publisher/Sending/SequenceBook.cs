namespace Publisher.Sending;

/// <summary>
/// The next sequence per topic of one producer id: contiguous from 0, as KIP-98 asks. It moves only when an insert is
/// known to be committed; when that cannot be known the id is retired, so that no sequence is ever given to two
/// different messages.
/// </summary>
internal sealed class SequenceBook
{
    private readonly Dictionary<string, long> _next = [];
    private long _producerId = DrawId();
    private long _asked;

    /// <summary>Changed by the writer only; others may read a value that was right a moment ago.</summary>
    public long ProducerId
    {
        get => Volatile.Read(ref _producerId);
        private set => Volatile.Write(ref _producerId, value);
    }

    public long Next(string topic) => _next.GetValueOrDefault(topic);

    public void Advance(IEnumerable<Chunk> stored)
    {
        foreach (var chunk in stored)
        {
            _next[chunk.Topic] = chunk.FirstSequence + chunk.Count;
        }
    }

    /// <summary>Takes a new id and begins every topic at 0.</summary>
    public void Retire()
    {
        ProducerId = DrawId();
        _next.Clear();
    }

    /// <summary>Asks the writer, from another thread, to give up an id whose sequences have a hole.</summary>
    public void AskToRetire(long producerId) => Volatile.Write(ref _asked, producerId);

    /// <summary>Whether the current id should be given up before the next insert.</summary>
    public bool ShouldRetire(int topicLimit) => Volatile.Read(ref _asked) == ProducerId || _next.Count >= topicLimit;

    /// <summary>Random, not a serial of the database: brokers remember ids longer than a wiped Postgres does.</summary>
    public static long DrawId() => Random.Shared.NextInt64(1, long.MaxValue);
}
