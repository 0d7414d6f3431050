namespace Broker.Topics;

/// <summary>What a reader looks for, and how far that has come: batches in a row, up to an end or a size.</summary>
internal struct BatchSearch(long offset, long end, int maxBytes, ICollection<BatchLocation> into)
{
    private long _bytes;

    /// <summary>The next offset to look for.</summary>
    public long Next { get; private set; } = offset;

    public int Count { get; private set; }

    /// <summary>The end is reached, or the next batch would be too much.</summary>
    public bool IsDone { get; private set; } = offset >= end;

    /// <summary>Takes the batch that holds the next offset; false when the search is done without it.</summary>
    public bool TryTake(in BatchLocation batch)
    {
        _bytes += batch.Length;
        if (IsDone || (Count > 0 && _bytes > maxBytes))
        {
            IsDone = true;
            return false;
        }

        into.Add(batch);
        Count++;
        Next = batch.EndOffset;
        IsDone = Next >= end;
        return true;
    }
}
