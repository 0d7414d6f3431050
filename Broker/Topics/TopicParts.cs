using Broker.Domain;

namespace Broker.Topics;

/// <summary>
/// Where a topic's batches are looked up: runs in index files, then batches in memory. A reader takes one of these and
/// finds in it all that was there when it took it: the apply thread appends to <see cref="Memory"/>, and makes a new
/// object for every other change. Runs are in offset order and do not overlap. Where no run covers an offset before
/// memory, this replica cannot give it (it came by a snapshot of another replica, and a purge will follow in the log).
/// </summary>
internal sealed class TopicParts(long firstOffset, BatchIndex memory)
{
    // Slots from _runCount on may be filled by a newer object that shares the array; nobody looks at them from here.
    private readonly IndexedRun[] _runs = [];
    private readonly int _runCount;

    private TopicParts(long firstOffset, BatchIndex memory, IndexedRun[] runs, int runCount)
        : this(firstOffset, memory)
    {
        _runs = runs;
        _runCount = runCount;
    }

    /// <summary>The first offset that can be read; it may lie within a batch.</summary>
    public long FirstOffset { get; } = firstOffset;

    public BatchIndex Memory { get; } = memory;

    public ReadOnlySpan<IndexedRun> Runs => _runs.AsSpan(0, _runCount);

    /// <summary>Entries below it hold no record of the topic that can be read; null: no entry does.</summary>
    public LogIndex? FirstNeeded
    {
        get
        {
            if (FirstOffset >= Memory.NextOffset)
            {
                return null;
            }

            if (FirstOffset >= Memory.StartOffset)
            {
                return Memory[Memory.Find(FirstOffset)].LogIndex;
            }

            // Not knowing where the records are is no reason to drop them.
            return TryFindRun(FirstOffset, out var run) ? run.SegmentFirst : LogIndex.None.Next();
        }
    }

    /// <summary>
    /// Encoded bytes of the batches that can be read; those of a batch or a run of which only a part is kept, too.
    /// </summary>
    public long SizeBytes
    {
        get
        {
            var bytes = Memory.SizeBytes;
            foreach (ref readonly var run in Runs)
            {
                bytes += run.SizeBytes;
            }

            return bytes;
        }
    }

    /// <summary>
    /// The first offset that settings keep. What lies in an index file goes as a whole, when all of it is too old or
    /// too much; what lies in memory batch by batch; the number of records is kept to exactly.
    /// </summary>
    public long FirstKept(TopicSettings settings, long nowUnixMs)
    {
        var next = Memory.NextOffset;
        var first = FirstOffset;
        if (settings.MaxRecords > 0)
        {
            first = Math.Max(first, next - settings.MaxRecords);
        }

        if (settings.MaxAgeMs > 0)
        {
            first = Math.Max(first, FirstSince(nowUnixMs - settings.MaxAgeMs));
        }

        return settings.MaxBytes > 0 ? Math.Max(first, FirstWithin(settings.MaxBytes)) : first;
    }

    /// <summary>
    /// The end of what index files have from an offset on without a gap, as far as all of a run is of that time or
    /// before; and the bytes and the batches of those runs.
    /// </summary>
    public (long End, long SizeBytes, long Batches) OldEnough(long offset, long timestampUnixMs)
    {
        var (end, bytes, batches) = (Math.Max(offset, FirstOffset), 0L, 0L);
        foreach (ref readonly var run in Runs[FirstRunAfter(end)..])
        {
            if (run.BaseOffset > end || run.LastTimestampUnixMs > timestampUnixMs)
            {
                break;
            }

            (end, bytes, batches) = (run.EndOffset, bytes + run.SizeBytes, batches + run.Count);
        }

        return (end, bytes, batches);
    }

    public bool TryFindRun(long offset, out IndexedRun run)
    {
        var ordinal = FirstRunAfter(offset);
        run = ordinal < _runCount ? _runs[ordinal] : default;
        return ordinal < _runCount && run.BaseOffset <= offset;
    }

    /// <summary>
    /// Whether a run of an index file can be taken: it lies within the topic, on batches' bounds as far as memory knows
    /// them, and overlaps no other segment's.
    /// </summary>
    public bool Fits(in IndexedRun run)
    {
        if (run.EndOffset > Memory.NextOffset
            || !IsBatchBound(run.BaseOffset)
            || !IsBatchBound(run.EndOffset)
            || !IsAsInMemory(run))
        {
            return false;
        }

        foreach (var other in Runs[FirstRunAfter(run.BaseOffset)..])
        {
            if (other.BaseOffset >= run.EndOffset)
            {
                break;
            }

            if (other.SegmentFirst != run.SegmentFirst)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>
    /// With a run that fits, and without what memory holds of it. Memory gives up only what lies before its first gap
    /// in the runs, so that a batch is always in one of the two.
    /// </summary>
    public TopicParts With(in IndexedRun run)
    {
        if (run.EndOffset <= FirstOffset)
        {
            return this;
        }

        var (runs, count) = Insert(run);
        var grown = new TopicParts(FirstOffset, Memory, runs, count);
        var covered = grown.CoveredTo(Memory.StartOffset);
        return covered == Memory.StartOffset
            ? grown
            : new TopicParts(FirstOffset, Memory.From(covered), runs, count);
    }

    /// <summary>With a first offset that is higher, and within the topic; without what lies before it.</summary>
    public TopicParts PurgedBefore(long offset)
    {
        var runs = Runs[FirstRunAfter(offset)..].ToArray();
        return new TopicParts(
            offset, offset > Memory.StartOffset ? Memory.From(offset) : Memory, runs, runs.Length);
    }

    /// <summary>Without the runs of segments that are dropped through an entry, the last of a segment.</summary>
    public TopicParts WithoutRunsThrough(LogIndex through)
    {
        var dropped = 0;
        while (dropped < _runCount && _runs[dropped].SegmentFirst <= through)
        {
            dropped++;
        }

        return dropped == 0
            ? this
            : new TopicParts(FirstOffset, Memory, _runs[dropped.._runCount], _runCount - dropped);
    }

    /// <summary>The ordinal of the first run whose last batch is of that time or a later one.</summary>
    public int FirstRunSince(long timestampUnixMs)
    {
        var ordinal = 0;
        while (ordinal < _runCount && _runs[ordinal].LastTimestampUnixMs < timestampUnixMs)
        {
            ordinal++;
        }

        return ordinal;
    }

    private long FirstSince(long timestampUnixMs)
    {
        var ordinal = FirstRunSince(timestampUnixMs);
        if (ordinal < _runCount)
        {
            return _runs[ordinal].BaseOffset;
        }

        // Where neither a run nor memory has a batch, nobody knows how old it was: it stays.
        if (CoveredTo(FirstOffset) < Memory.StartOffset)
        {
            return FirstOffset;
        }

        var kept = Memory.FindTime(timestampUnixMs);
        return kept < Memory.Count ? Memory[kept].BaseOffset : Memory.NextOffset;
    }

    private long FirstWithin(long maxBytes)
    {
        var excess = SizeBytes - maxBytes;
        foreach (ref readonly var run in Runs)
        {
            if (run.SizeBytes > excess)
            {
                return run.BaseOffset;
            }

            excess -= run.SizeBytes;
        }

        var ordinal = 0;
        for (; ordinal < Memory.Count && Memory[ordinal].Length <= excess; ordinal++)
        {
            excess -= Memory[ordinal].Length;
        }

        return ordinal < Memory.Count ? Memory[ordinal].BaseOffset : Memory.NextOffset;
    }

    private bool IsBatchBound(long offset)
    {
        var ordinal = Memory.Find(offset);
        return ordinal < 0 || Memory[ordinal].BaseOffset == offset;
    }

    /// <summary>Whether a run says what memory says, where that holds all of its batches.</summary>
    private bool IsAsInMemory(in IndexedRun run)
    {
        var (first, last) = (Memory.Find(run.BaseOffset), Memory.Find(run.EndOffset - 1));
        if (first < 0 || last < 0)
        {
            return true;
        }

        var sizeBytes = 0L;
        for (var ordinal = first; ordinal <= last; ordinal++)
        {
            sizeBytes += Memory[ordinal].Length;
        }

        return sizeBytes == run.SizeBytes && Memory[last].TimestampUnixMs == run.LastTimestampUnixMs;
    }

    /// <summary>Where the runs that begin with an offset, without a gap, end.</summary>
    private long CoveredTo(long offset)
    {
        foreach (var run in Runs[FirstRunAfter(offset)..])
        {
            if (run.BaseOffset > offset)
            {
                break;
            }

            offset = run.EndOffset;
        }

        return offset;
    }

    /// <summary>The ordinal of the first run that ends after an offset.</summary>
    private int FirstRunAfter(long offset)
    {
        var low = 0;
        var high = _runCount;
        while (low < high)
        {
            var middle = low + ((high - low) / 2);
            if (_runs[middle].EndOffset <= offset)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low;
    }

    /// <summary>
    /// Segments come in order, so a run mostly goes to the end, into room that doubles: n segments cost n steps.
    /// </summary>
    private (IndexedRun[] Runs, int Count) Insert(in IndexedRun run)
    {
        if (_runCount == 0 || _runs[_runCount - 1].EndOffset <= run.BaseOffset)
        {
            var room = _runs;
            if (_runCount == room.Length)
            {
                Array.Resize(ref room, Math.Max(1, room.Length * 2));
            }

            room[_runCount] = run;
            return (room, _runCount + 1);
        }

        var segment = run.SegmentFirst;
        var others = Runs.ToArray().Where(each => each.SegmentFirst != segment);
        IndexedRun[] sorted = [.. others.Append(run).OrderBy(each => each.BaseOffset)];
        return (sorted, sorted.Length);
    }
}
