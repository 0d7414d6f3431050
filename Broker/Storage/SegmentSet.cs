using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// Consecutive frames of one segment that a reader may read; their file stays open until <see
/// cref="SegmentSet.Unpin"/>.
/// </summary>
internal readonly record struct PinnedRun(
    Segment Segment, IStorageFile File, LogIndex First, long Offset, FramePosition[] Frames, long Cuts)
{
    public int FileBytes => checked((int)(Frames[^1].EndOffset - Offset));
}

/// <summary>
/// A log's segments in order, shared by one writer and any number of readers. The lock is held for look-ups only; bytes
/// are read outside of it, from pinned files. A reader learns at <see cref="Unpin"/> whether a truncation came between,
/// and then discards what it read.
/// </summary>
internal sealed class SegmentSet(IStorageDevice device, int openSealedSegments) : IDisposable
{
    private readonly Lock _gate = new();
    private readonly List<Segment> _segments = [];
    private long _last;
    private long _cuts;
    private long _uses;
    private bool _disposed;

    /// <summary>The last entry that readers may see: its write has returned.</summary>
    public LogIndex Last => new(Volatile.Read(ref _last));

    /// <summary>The segment that is appended to; null before the first one. For the writer.</summary>
    public Segment? Active => _segments.Count == 0 ? null : _segments[^1];

    public int Count => _segments.Count;

    public void Add(Segment segment)
    {
        lock (_gate)
        {
            _segments.Add(segment);
            CloseIdleFiles();
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

    /// <summary>
    /// Hides the entries from this index on, and gives the segments that no longer belong to the log, oldest first.
    /// </summary>
    public List<Segment> CutFrom(LogIndex from)
    {
        lock (_gate)
        {
            _cuts++;
            Volatile.Write(ref _last, Math.Min(_last, from.Value - 1));
            var kept = Find(from) + 1;
            var removed = _segments.GetRange(kept, _segments.Count - kept);
            _segments.RemoveRange(kept, removed.Count);
            foreach (var segment in removed)
            {
                segment.IsRemoved = true;
                CloseIfUnused(segment);
            }

            var last = _segments[^1];
            last.CutTo((int)Math.Min(last.Count, from - last.First));
            return removed;
        }
    }

    /// <summary>Bytes of an entry without padding.</summary>
    public int SizeBytesOf(LogIndex index)
    {
        lock (_gate)
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(index.Value, 1);
            ArgumentOutOfRangeException.ThrowIfGreaterThan(index.Value, _last);
            var segment = _segments[Find(index)];
            return segment[(int)(index - segment.First)].SizeBytes;
        }
    }

    /// <summary>Opens the segment's file for the writer, who keeps it until <see cref="Release"/>.</summary>
    public IStorageFile Acquire(Segment segment)
    {
        lock (_gate)
        {
            return Use(segment);
        }
    }

    public void Release(Segment segment)
    {
        lock (_gate)
        {
            segment.Users--;
            CloseIfUnused(segment);
        }
    }

    /// <summary>
    /// Finds a run of readable entries in one segment; at least one if <paramref name="maxBytes"/> does not matter for
    /// the first.
    /// </summary>
    public bool TryPin(LogIndex from, LogIndex to, long maxBytes, bool takeFirst, out PinnedRun run)
    {
        run = default;
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, typeof(GroupLog));
            to = LogIndex.Min(to, Last);
            if (from > to)
            {
                return false;
            }

            var segment = _segments[Find(from)];
            var ordinal = (int)(from - segment.First);
            var end = (int)(LogIndex.Min(to, segment.Last) - segment.First) + 1;
            var count = CountWithin(segment, ordinal, end, maxBytes, takeFirst);
            if (count == 0)
            {
                return false;
            }

            var frames = new FramePosition[count];
            for (var i = 0; i < count; i++)
            {
                frames[i] = segment[ordinal + i];
            }

            run = new PinnedRun(segment, Use(segment), from, frames[0].Offset, frames, _cuts);
            return true;
        }
    }

    /// <summary>Ends a read; false when a truncation came between, so that what was read may be anything.</summary>
    public bool Unpin(in PinnedRun run)
    {
        lock (_gate)
        {
            run.Segment.Users--;
            CloseIfUnused(run.Segment);
            return _cuts == run.Cuts;
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _disposed = true;
            foreach (var segment in _segments)
            {
                segment.IsRemoved = true;
                CloseIfUnused(segment);
            }
        }
    }

    private static int CountWithin(Segment segment, int ordinal, int end, long maxBytes, bool takeFirst)
    {
        var bytes = 0L;
        var count = 0;
        for (; ordinal + count < end; count++)
        {
            bytes += segment[ordinal + count].SizeBytes;
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

    private IStorageFile Use(Segment segment)
    {
        segment.LastUse = ++_uses;
        if (segment.File is null)
        {
            segment.File = device.Open(segment.Path, create: false);
            segment.Users++;
            CloseIdleFiles();
            return segment.File;
        }

        segment.Users++;
        return segment.File;
    }

    private static void CloseIfUnused(Segment segment)
    {
        if (segment.IsRemoved && segment.Users == 0)
        {
            segment.File?.Dispose();
            segment.File = null;
        }
    }

    /// <summary>Keeps the number of open files bounded: the ones that were used longest ago are closed.</summary>
    private void CloseIdleFiles()
    {
        while (_segments.Count(static s => s.File is not null && s.Users == 0) > openSealedSegments)
        {
            var oldest = _segments.Where(static s => s.File is not null && s.Users == 0).MinBy(static s => s.LastUse)!;
            oldest.File!.Dispose();
            oldest.File = null;
        }
    }
}
