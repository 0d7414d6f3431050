namespace Publisher.Sending;

/// <summary>
/// The chunks of one producer on one topic, in sequence order; what is divided among partitions takes its chunk's
/// place. One pump at a time sends them. Waiting is shared with the writer under the lock; everything else belongs to
/// the pump.
/// </summary>
internal sealed class Lane(long producerId, string topic)
{
    private readonly Lock _lock = new();
    private readonly LinkedList<Chunk> _waiting = new();
    private bool _pumping;

    public long ProducerId { get; } = producerId;

    public string Topic { get; } = topic;

    /// <summary>It is a relay's, which holds the lock of the producer; another one is its own process'.</summary>
    public bool IsRelayed { get; init; }

    /// <summary>
    /// The producers, each in a partition, of which the brokers have acknowledged a chunk since the last failure. Of
    /// others only one chunk is under way: brokers accept any sequence from a producer that they do not know, so a
    /// second chunk that arrives first would turn the first into a "duplicate" and lose it.
    /// </summary>
    public HashSet<(long ProducerId, int Partition)> Established { get; } = [];

    /// <summary>Of what is divided among partitions.</summary>
    public PartitionStamps Stamps { get; set; } = new();

    /// <summary>Adds a chunk. True: no pump runs, the caller starts one.</summary>
    public bool Add(Chunk chunk)
    {
        lock (_lock)
        {
            _waiting.AddLast(chunk);
            var start = !_pumping;
            _pumping = true;
            return start;
        }
    }

    public bool TryTake(out Chunk chunk)
    {
        lock (_lock)
        {
            chunk = _waiting.First?.Value!;
            if (chunk is null)
            {
                return false;
            }

            _waiting.RemoveFirst();
            return true;
        }
    }

    /// <summary>Ends the pump when nothing waits. False: something has arrived, go on.</summary>
    public bool TryRest()
    {
        lock (_lock)
        {
            _pumping = _waiting.Count > 0;
            return !_pumping;
        }
    }

    /// <summary>Puts chunks that were not acknowledged back before the others, in their order.</summary>
    public void PutBack(IReadOnlyList<Chunk> chunks)
    {
        lock (_lock)
        {
            for (var i = chunks.Count - 1; i >= 0; i--)
            {
                _waiting.AddFirst(chunks[i]);
            }
        }
    }

    /// <summary>The chunks at the head that are only in Postgres, as many as one query should read back.</summary>
    public List<Chunk> NextToLoad(Chunk first, long limitBytes)
    {
        var found = new List<Chunk> { first };
        long size = first.SizeBytes;
        lock (_lock)
        {
            foreach (var chunk in _waiting)
            {
                size += chunk.SizeBytes;
                if (chunk.Batch is not null || size > limitBytes)
                {
                    break;
                }

                found.Add(chunk);
            }
        }

        return found;
    }

    /// <summary>
    /// Takes chunks from the head that are in memory and can be divided together with one that was taken, which is the
    /// first of the answer.
    /// </summary>
    public List<Chunk> TakeToDivide(Chunk first, int limitRows, int limitBytes)
    {
        var found = new List<Chunk> { first };
        var (rows, bytes) = (first.Count, first.SizeBytes);
        lock (_lock)
        {
            while (_waiting.First?.Value is { Batch: not null, MayBeStored: false } next
                && (next.ProducerId, next.Partition) == (first.ProducerId, first.Partition)
                && next.IsMisplaced == first.IsMisplaced
                && (rows += next.Count) <= limitRows && (bytes += next.SizeBytes) <= limitBytes)
            {
                _waiting.RemoveFirst();
                found.Add(next);
            }
        }

        return found;
    }

    /// <summary>All that waits, without taking it.</summary>
    public List<Chunk> Waiting()
    {
        lock (_lock)
        {
            return [.. _waiting];
        }
    }
}
