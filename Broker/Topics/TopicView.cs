namespace Broker.Topics;

/// <summary>
/// A topic as readers on any thread see it. It is live: <see cref="NextOffset"/> grows between two calls, and whatever
/// is below it stays as it is.
/// </summary>
public readonly struct TopicView
{
    private readonly TopicState _state;

    internal TopicView(TopicState state)
    {
        _state = state;
    }

    public string Name => _state.Name;

    /// <summary>The first offset that can be read.</summary>
    public long FirstOffset => 0;

    /// <summary>The offset that the next record will get.</summary>
    public long NextOffset => _state.Batches.NextOffset;

    /// <summary>Time of the last batch.</summary>
    public long LastTimestampUnixMs
    {
        get
        {
            var count = _state.Batches.Count;
            return count == 0 ? 0 : _state.Batches[count - 1].TimestampUnixMs;
        }
    }

    public int BatchCount => _state.Batches.Count;

    /// <summary>The number of the batch that holds an offset, counted from 0; -1 when no batch does, yet.</summary>
    public int FindBatch(long offset) => _state.Batches.Find(offset);

    /// <summary>The batch of that number, which is below <see cref="BatchCount"/>.</summary>
    public BatchLocation GetBatch(int ordinal) => _state.Batches[ordinal];
}
