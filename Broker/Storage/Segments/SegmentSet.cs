using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// A log's segments in order, shared by one writer and any number of readers. The lock is held for look-ups only; bytes
/// are read outside of it, from pinned files. A reader learns at <see cref="Unpin"/> whether a truncation or a
/// replacement came between, and then discards what it read.
/// </summary>
internal sealed partial class SegmentSet(
    GroupFolder folder, StorageOptions options, LogIndex first, IEnumerable<Segment> segments, TermRuns terms)
    : IDisposable
{
    private readonly Lock _gate = new();
    private readonly List<Segment> _segments = [.. segments];
    private volatile SealedSegment[] _sealed = Describe(segments);
    private volatile int _hollowCount = CountHollow(segments);
    private FramePositions? _spare;
    private long _first = first.Value;
    private long _last = first.Value - 1;
    private long _cuts;
    private long _uses;
    private bool _disposed;

    /// <summary>
    /// The terms of the log's entries, also of those that are on their way into the active segment. The writer adds to
    /// them; what leaves the log here leaves them too.
    /// </summary>
    public TermRuns Terms { get; } = terms;

    /// <summary>The first entry of the log.</summary>
    public LogIndex First => new(Volatile.Read(ref _first));

    /// <summary>The last entry that readers may see: its write has returned.</summary>
    public LogIndex Last => new(Volatile.Read(ref _last));

    /// <summary>The last entry of the newest sealed segment; none when there is no such segment.</summary>
    public LogIndex SealedThrough => _sealed is [.., var newest] ? newest.Last : LogIndex.None;

    /// <summary>The segment that is appended to; null before it is made. For the writer.</summary>
    public Segment? Active => _segments.Count == 0 || _segments[^1].IsSealed ? null : _segments[^1];

    public int Count => _segments.Count;

    /// <summary>Adds the new active segment; the one before it is sealed from now on.</summary>
    public void Add(Segment segment)
    {
        lock (_gate)
        {
            if (Active is { } sealing)
            {
                sealing.Seal(segment.Header.PreviousCrc32C);
                sealing.LastUse = ++_uses;

                // The memory may be that of a segment with more entries.
                sealing.Positions!.CutTo(sealing.Count);
            }

            _segments.Add(segment);
            Describe();
            TrimCaches();
        }
    }

    /// <summary>Adds frames to the active segment; readers see them after <see cref="Publish"/>.</summary>
    public void Append(List<FramePosition> frames)
    {
        lock (_gate)
        {
            var active = _segments[^1];
            foreach (var frame in frames)
            {
                active.Add(frame);
            }
        }
    }

    public void Publish(LogIndex last) => Volatile.Write(ref _last, last.Value);

    /// <summary>The segment that holds this index, or would; the first one at the least. For the writer.</summary>
    public Segment Containing(LogIndex index)
    {
        lock (_gate)
        {
            return _segments[Find(index)];
        }
    }

    /// <summary>A sealed segment that begins there, or null.</summary>
    public Segment? FindSealed(LogIndex first)
    {
        lock (_gate)
        {
            return _segments.Count > 0 && _segments[Find(first)] is { IsSealed: true } found && found.First == first
                ? found
                : null;
        }
    }

    /// <summary>The sealed segments from one that begins there to one that ends there; none: they are not.</summary>
    public List<Segment> FindSealed(LogIndex first, LogIndex last)
    {
        lock (_gate)
        {
            var found = new List<Segment>();
            foreach (var segment in _segments)
            {
                if (segment.IsSealed && segment.First >= first && segment.Last <= last)
                {
                    found.Add(segment);
                }
            }

            return found.Count > 0 && found[0].First == first && found[^1].Last == last ? found : [];
        }
    }

    /// <summary>The sealed segments. Never waits for the lock, under which files are opened.</summary>
    public IReadOnlyList<SealedSegment> Sealed() => _sealed;

    /// <summary>How many of them are hollow. Never waits.</summary>
    public int HollowCount => _hollowCount;

    /// <summary>What the log must know of a sealed segment to go on without it.</summary>
    public SealedMetadata MetadataOf(Segment segment) => segment.Describe(Terms.Between(segment.First, segment.Last));

    /// <summary>
    /// Takes note of damage, once; returns what is thrown to those who cannot go on without the segment.
    /// </summary>
    public StorageCorruptException Damaged(Segment segment, long offset, string expected, Exception? cause = null)
    {
        if (TryMarkDamaged(segment))
        {
            StorageEvents.SegmentDamaged(folder.Logger, folder.Group, segment.Path, offset, expected);
        }

        return new StorageCorruptException(segment.Path, offset, expected, cause);
    }

    /// <summary>
    /// Finds a run of readable entries in one segment; at least one if <paramref name="maxBytes"/> does not matter for
    /// the first. When a segment's positions are not in memory it names the segment instead: load them and ask again.
    /// </summary>
    /// <exception cref="HollowSegmentException">The first entry is hollow, and hollow ones are not wanted.</exception>
    public bool TryPin(
        LogIndex from,
        LogIndex to,
        long maxBytes,
        bool takeFirst,
        out PinnedRun run,
        out Segment? unloaded,
        bool hollowToo = false)
    {
        run = default;
        unloaded = null;
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            to = LogIndex.Min(to, Last);
            if (from > to || from < First)
            {
                return false;
            }

            var segment = _segments[Find(from)];
            if (from <= segment.HollowThrough && !hollowToo)
            {
                throw new HollowSegmentException(segment.Path);
            }

            segment.LastUse = ++_uses;
            if (segment.Positions is not { } positions)
            {
                unloaded = segment;
                return false;
            }

            var ordinal = (int)(from - segment.First);
            var end = (int)(LogIndex.Min(to, segment.Last) - segment.First) + 1;
            var count = CountWithin(positions, ordinal, end, maxBytes, takeFirst);
            if (count == 0)
            {
                return false;
            }

            var frames = new FramePosition[count];
            for (var i = 0; i < count; i++)
            {
                frames[i] = positions[ordinal + i];
            }

            run = new PinnedRun(segment, Use(segment), from, frames[0].Offset, frames, _cuts);
            return true;
        }
    }

    /// <summary>Ends a read; false when what was read may be anything, or something else can be read now.</summary>
    public bool Unpin(in PinnedRun run)
    {
        lock (_gate)
        {
            run.Segment.Users--;
            CloseIfUnused(run.Segment);
            return _cuts == run.Cuts;
        }
    }

    /// <summary>
    /// Bytes of an entry without padding; false when the positions of its segment are not in memory, or when somebody
    /// who may be opening a file has the lock.
    /// </summary>
    public bool TrySizeBytesOf(LogIndex index, out int sizeBytes)
    {
        sizeBytes = 0;
        if (!_gate.TryEnter())
        {
            return false;
        }

        try
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(index.Value, _first);
            ArgumentOutOfRangeException.ThrowIfGreaterThan(index.Value, _last);
            var segment = _segments[Find(index)];
            segment.LastUse = ++_uses;
            sizeBytes = segment.Positions?[(int)(index - segment.First)].SizeBytes ?? 0;
            return segment.Positions is not null;
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <summary>Takes the positions of a sealed segment into memory, in place of those of the least used one.</summary>
    public void Load(Segment segment, FramePositions positions)
    {
        lock (_gate)
        {
            if (segment.Positions is null)
            {
                segment.Load(positions);
                segment.LastUse = ++_uses;
                TrimCaches();
            }
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _disposed = true;
            _segments.ForEach(Remove);
        }
    }

    private static SealedSegment[] Describe(IEnumerable<Segment> segments) =>
    [
        .. segments.Where(static segment => segment.IsSealed).Select(static segment =>
            new SealedSegment(
                segment.First, segment.Last, segment.TailOffset, segment.IsDamaged, segment.HollowThrough)),
    ];

    private void Describe()
    {
        _sealed = Describe(_segments);
        _hollowCount = CountHollow(_segments);
    }

    private static int CountHollow(IEnumerable<Segment> segments) =>
        segments.Count(static segment => segment.IsSealed && segment.HollowThrough == segment.Last);

    /// <summary>True when this is news.</summary>
    private bool TryMarkDamaged(Segment segment)
    {
        lock (_gate)
        {
            var isNews = !segment.IsDamaged && !segment.IsRemoved;
            segment.IsDamaged = true;
            Describe();
            return isNews;
        }
    }

    private static int CountWithin(FramePositions positions, int ordinal, int end, long maxBytes, bool takeFirst)
    {
        var bytes = 0L;
        var count = 0;
        for (; ordinal + count < end; count++)
        {
            bytes += positions[ordinal + count].SizeBytes;
            if (bytes > maxBytes && (count > 0 || !takeFirst))
            {
                break;
            }
        }

        return count;
    }

    /// <summary>The last segment that begins at or before the index.</summary>
    private int Find(LogIndex index)
    {
        var low = 0;
        var high = _segments.Count - 1;
        while (low < high)
        {
            var middle = (low + high + 1) / 2;
            if (_segments[middle].First <= index)
            {
                low = middle;
            }
            else
            {
                high = middle - 1;
            }
        }

        return low;
    }
}

/// <summary>
/// Consecutive frames of one segment that a reader may read; their file stays open until <see
/// cref="SegmentSet.Unpin"/>.
/// </summary>
internal readonly record struct PinnedRun(
    Segment Segment, IStorageFile File, LogIndex First, long Offset, FramePosition[] Frames, long Cuts)
{
    private int FileBytes => checked((int)(Frames[^1].EndOffset - Offset));

    /// <summary>
    /// Reads an entry for each frame; their bodies share a buffer that no one changes. Returns where the first one
    /// begins that is not what it should be, or null.
    /// </summary>
    public FileDamage? Read(LogEntry[] entries)
    {
        var bytes = GC.AllocateUninitializedArray<byte>(FileBytes);
        int filled;
        try
        {
            filled = File.Read(Offset, bytes);
        }
        catch (IOException failure)
        {
            return new FileDamage(Offset, "bytes that can be read", failure);
        }

        for (var i = 0; i < entries.Length; i++)
        {
            var frame = Frames[i];
            var start = (int)(frame.Offset - Offset);
            if (start + frame.SizeBytes > filled || TryDecode(bytes.AsMemory(start), i) is not { } entry)
            {
                return new FileDamage(frame.Offset, "the entry that was made durable there, with matching checksums");
            }

            entries[i] = entry;
        }

        return null;
    }

    private LogEntry? TryDecode(ReadOnlyMemory<byte> bytes, int ordinal)
    {
        if (!FrameHeader.TryDecode(bytes.Span, Segment.Seed, out var header, out _)
            || header.Index != First + ordinal
            || header.BodyBytes != Frames[ordinal].BodyBytes)
        {
            return null;
        }

        var body = bytes.Slice(FrameHeader.SizeBytes, header.BodyBytes);
        var entry = new LogEntry(
            header.Index, header.Term, header.Kind, header.Count, header.TimestampUnixMs, header.BodyCrc32C, body);
        return entry.BodyIsIntact() ? entry : null;
    }
}
