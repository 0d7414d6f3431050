namespace Broker.Topics;

/// <summary>
/// A topic as readers on any thread see it. It is live: <see cref="NextOffset"/> grows between two calls, and so does
/// <see cref="FirstOffset"/>; what lies between stays as it is.
/// </summary>
public readonly struct TopicView
{
    private readonly TopicState _state;
    private readonly ReadIndexBody? _readIndexBody;

    internal TopicView(TopicState state, ReadIndexBody? readIndexBody)
    {
        _state = state;
        _readIndexBody = readIndexBody;
    }

    public string Name => _state.Name;

    /// <summary>The first offset that can be read. It equals the next one when no record is kept.</summary>
    public long FirstOffset => _state.Parts.FirstOffset;

    /// <summary>The offset that the next record will get.</summary>
    public long NextOffset => _state.Parts.Memory.NextOffset;

    /// <summary>
    /// Its number in its shard, from 0: a topic that is made under the name of a deleted one has another.
    /// </summary>
    public int Number => _state.Number;

    /// <summary>
    /// The number that the topic's id has: of a partition other than the first, the topic's one in its own shard.
    /// </summary>
    public int TopicNumber => _state.IsPartition ? _state.PartitionOf : _state.Number;

    /// <summary>Partitions of the topic; 1 of a partition itself.</summary>
    public int Partitions => _state.Partitions?.Length ?? 1;

    /// <summary>Whether every partition is made, so that it can be published to.</summary>
    public bool IsComplete => _state.Partitions?.Contains(-1) != true;

    /// <summary>How often its settings were changed; a partition has them when it has the same number.</summary>
    internal int SettingsVersion => _state.SettingsVersion;

    /// <summary>The name under which one of several partitions stands in its shard.</summary>
    internal string PartitionNameOf(int partition) => _state.PartitionNameOf(partition);

    /// <summary>Its number there; -1: it is not made yet.</summary>
    internal int PartitionNumber(int partition) => _state.Partitions![partition];

    /// <summary>What it keeps and takes.</summary>
    public TopicSettings Settings => _state.Settings;

    /// <summary>How far it was compacted.</summary>
    internal CompactedTo Compacted => _state.Compacted;

    /// <summary>Encoded bytes of the batches that can be read.</summary>
    public long SizeBytes => _state.Parts.SizeBytes;

    /// <summary>Time of the last batch.</summary>
    public long LastTimestampUnixMs => _state.Parts.Memory.LastTimestampUnixMs;

    /// <summary>
    /// The offset of the first kept record of that time or a later one; the next offset when there is none. False: this
    /// replica cannot say where it is.
    /// </summary>
    public bool TryFindTime(long timestampUnixMs, out long offset)
    {
        var parts = _state.Parts;
        var ordinal = parts.FirstRunSince(timestampUnixMs);
        if (ordinal < parts.Runs.Length)
        {
            var isFound = SegmentIndex.TryFindTime(_readIndexBody, parts.Runs[ordinal], timestampUnixMs, out offset);
            offset = Math.Max(offset, parts.FirstOffset);
            return isFound;
        }

        var memory = parts.Memory;
        var (found, count) = (memory.FindTime(timestampUnixMs), memory.Count);
        offset = Math.Max(parts.FirstOffset, found < count ? memory[found].BaseOffset : memory.NextOffset);
        return true;
    }

    /// <summary>
    /// Adds the batches from the one that holds an offset (the first one that is kept, when that comes later) up to an
    /// end, while their bytes fit; always one, even when it alone is larger.
    /// </summary>
    /// <param name="offset">The first offset that is wanted.</param>
    /// <param name="end">The first offset that is not.</param>
    /// <param name="maxBytes">How many bytes of batches are wanted.</param>
    /// <param name="into">Where the batches are added, in offset order.</param>
    /// <param name="firstOffset">The first batch may hold records before this offset that are purged.</param>
    /// <returns>False, and nothing is added: there is none, or this replica cannot say where it is.</returns>
    public bool TryLocate(
        long offset, long end, int maxBytes, ICollection<BatchLocation> into, out long firstOffset)
    {
        var parts = _state.Parts;
        firstOffset = parts.FirstOffset;
        var search = new BatchSearch(Math.Max(offset, firstOffset), end, maxBytes, into);
        while (search.Next < parts.Memory.StartOffset && !search.IsDone)
        {
            if (!parts.TryFindRun(search.Next, out var run) || !SegmentIndex.TryRead(_readIndexBody, run, ref search))
            {
                return search.Count > 0;
            }
        }

        var ordinal = search.IsDone ? -1 : parts.Memory.Find(search.Next);
        while (ordinal >= 0 && ordinal < parts.Memory.Count && search.TryTake(parts.Memory[ordinal]))
        {
            ordinal++;
        }

        return search.Count > 0;
    }
}
