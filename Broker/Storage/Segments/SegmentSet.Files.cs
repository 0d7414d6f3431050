using Broker.Domain;

namespace Broker.Storage;

/// <summary>The files of the segments: which are open, which leave the log, which take another's place.</summary>
internal sealed partial class SegmentSet
{
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
            TrimCaches();
        }
    }

    /// <summary>
    /// No positions, for a segment that is about to begin. In the memory of those that were given up last: a log that
    /// grows evenly allocates none. For the writer.
    /// </summary>
    public FramePositions NewPositions()
    {
        lock (_gate)
        {
            var positions = _spare ?? new FramePositions();
            _spare = null;
            positions.Clear();
            return positions;
        }
    }

    /// <summary>Hides the entries from this index on; their bytes are about to change.</summary>
    public void HideFrom(LogIndex from)
    {
        lock (_gate)
        {
            _cuts++;
            Volatile.Write(ref _last, Math.Min(_last, from.Value - 1));
            Terms.CutFrom(from);
        }
    }

    /// <summary>Takes the segments behind this one out of the log, and gives them, oldest first.</summary>
    public List<Segment> RemoveAfter(Segment kept)
    {
        lock (_gate)
        {
            var count = _segments.IndexOf(kept) + 1;
            var removed = _segments.GetRange(count, _segments.Count - count);
            _segments.RemoveRange(count, removed.Count);
            Describe();
            removed.ForEach(Remove);
            return removed;
        }
    }

    /// <summary>Takes the active segment, which is empty, out of the log.</summary>
    public Segment RemoveActive()
    {
        lock (_gate)
        {
            var active = _segments[^1];
            Invariant.Check(!active.IsSealed && active.Count == 0, "only an empty active segment is taken back");
            _cuts++;
            _segments.RemoveAt(_segments.Count - 1);
            Remove(active);
            return active;
        }
    }

    /// <summary>Makes the last segment, whose positions are loaded, the active one up to before this index.</summary>
    public void Reopen(Segment segment, LogIndex from)
    {
        lock (_gate)
        {
            _cuts++;
            segment.Unseal((int)Math.Min(segment.Count, from - segment.First));
            Describe();
        }
    }

    /// <summary>Takes the sealed segments up to this entry out of the log, and gives them, oldest first.</summary>
    public List<Segment> DropThrough(LogIndex last)
    {
        lock (_gate)
        {
            Volatile.Write(ref _first, last.Value + 1);
            var removed = _segments.TakeWhile(segment => segment.IsSealed && segment.Last <= last).ToList();
            _segments.RemoveRange(0, removed.Count);
            Describe();
            removed.ForEach(Remove);
            Terms.DropThrough(last, Last);
            return removed;
        }
    }

    /// <summary>Takes all segments out of the log, which goes on from this index; gives them, oldest first.</summary>
    public List<Segment> Reset(LogIndex first)
    {
        lock (_gate)
        {
            _cuts++;
            Volatile.Write(ref _last, first.Value - 1);
            Volatile.Write(ref _first, first.Value);
            var removed = _segments.ToList();
            _segments.Clear();
            Describe();
            removed.ForEach(Remove);
            Terms.Clear();
            return removed;
        }
    }

    /// <summary>
    /// Puts a segment with the same entries in the place of sealed ones that follow one another. The file gets its name
    /// meanwhile, so that no reader opens the one for the other. False when one of the old ones no longer is a sealed
    /// segment of the log.
    /// </summary>
    public bool TryReplace(List<Segment> old, Segment replacement, Action takeName)
    {
        lock (_gate)
        {
            var at = _segments.IndexOf(old[0]);
            if (at < 0 || _disposed || !_segments.Skip(at).Take(old.Count).SequenceEqual(old)
                || old.Exists(static segment => !segment.IsSealed))
            {
                return false;
            }

            takeName();
            _cuts++;
            _segments.RemoveRange(at, old.Count);
            _segments.Insert(at, replacement);
            Describe();
            old.ForEach(Remove);
            TrimCaches();
            return true;
        }
    }

    private static void Remove(Segment segment)
    {
        segment.IsRemoved = true;
        CloseIfUnused(segment);
    }

    private static void CloseIfUnused(Segment segment)
    {
        if (segment.IsRemoved && segment.Users == 0)
        {
            segment.File?.Dispose();
            segment.File = null;
        }
    }

    private IStorageFile Use(Segment segment)
    {
        segment.LastUse = ++_uses;
        if (segment.File is null)
        {
            segment.File = folder.Device.Open(segment.Path, create: false);
            segment.Users++;
            TrimCaches();
            return segment.File;
        }

        segment.Users++;
        return segment.File;
    }

    /// <summary>
    /// Keeps the number of open files and of loaded positions bounded: those that were used longest ago go first.
    /// </summary>
    private void TrimCaches()
    {
        while (_segments.Count(static s => s.File is not null && s.Users == 0) > options.OpenSealedSegments)
        {
            var oldest = _segments.Where(static s => s.File is not null && s.Users == 0).MinBy(static s => s.LastUse)!;
            oldest.File!.Dispose();
            oldest.File = null;
        }

        while (_segments.Count(static s => s.IsSealed && s.Positions is not null) > options.LoadedSealedSegments)
        {
            var loaded = _segments.Where(static s => s.IsSealed && s.Positions is not null);
            _spare = loaded.MinBy(static s => s.LastUse)!.Unload();
        }
    }
}
