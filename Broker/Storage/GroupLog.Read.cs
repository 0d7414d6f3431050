using Broker.Domain;

namespace Broker.Storage;

public sealed partial class GroupLog
{
    /// <summary>
    /// Reads entries whose write has returned, in order, from any thread. Bodies of one call share buffers that no one
    /// changes.
    /// </summary>
    /// <param name="from">The first index.</param>
    /// <param name="to">The last index, inclusive; what lies beyond the log's end is left out.</param>
    /// <param name="maxBytes">Stop before the sizes of the entries exceed this; the first entry is read whatever its
    /// size.</param>
    /// <param name="into">Where the entries are added.</param>
    /// <returns>The number of entries read; 0 when there is none at <paramref name="from"/>, be it dropped or not yet
    /// written.</returns>
    /// <exception cref="StorageCorruptException">The first entry that remains to be read is not the one that was
    /// written. Its segment is marked, see <see cref="SealedSegments"/>.</exception>
    public int Read(LogIndex from, LogIndex to, int maxBytes, ICollection<LogEntry> into)
    {
        ThrowIfUnusable();
        ArgumentOutOfRangeException.ThrowIfLessThan(from.Value, 1);
        var count = 0;
        var bytesLeft = (long)maxBytes;
        while (TryPin(from, to, bytesLeft, takeFirst: count == 0, out var run))
        {
            var entries = new LogEntry[run.Frames.Length];
            FileDamage? damage;
            bool isUncut;
            try
            {
                damage = ReadRun(run, entries);
            }
            finally
            {
                isUncut = _segments.Unpin(run);
            }

            if (!isUncut)
            {
                // A truncation or a repair came between: the bytes may be those of other entries by now, or damage that
                // is mended. Look the position up again.
                continue;
            }

            if (damage is { } found)
            {
                throw Damaged(run.Segment, found.Offset, found.Expected, found.Cause);
            }

            foreach (var entry in entries)
            {
                into.Add(entry);
                bytesLeft -= entry.SizeBytes;
            }

            count += entries.Length;
            from += entries.Length;
        }

        return count;
    }

    /// <summary>
    /// Bytes of an entry of the log on disk, from any thread, without waiting for the disk: false when they are not
    /// known without it. Reading an entry makes known the sizes of all entries of its segment, for a while.
    /// </summary>
    public bool TrySizeBytesOf(LogIndex index, out int sizeBytes)
    {
        ThrowIfUnusable();
        return _segments.TrySizeBytesOf(index, out sizeBytes);
    }

    private bool TryPin(LogIndex from, LogIndex to, long maxBytes, bool takeFirst, out PinnedRun run)
    {
        while (true)
        {
            Segment? unloaded;
            try
            {
                if (_segments.TryPin(from, to, maxBytes, takeFirst, out run, out unloaded))
                {
                    return true;
                }
            }
            catch (Exception missing) when (missing is FileNotFoundException or DirectoryNotFoundException)
            {
                throw Damaged(_segments.Containing(from), 0, "the file", missing);
            }

            if (unloaded is null)
            {
                return false;
            }

            LoadPositions(unloaded);
        }
    }

    /// <summary>Fills the entries; returns where the first one begins that is not what it should be.</summary>
    private static FileDamage? ReadRun(in PinnedRun run, LogEntry[] entries)
    {
        var bytes = GC.AllocateUninitializedArray<byte>(run.FileBytes);
        int filled;
        try
        {
            filled = run.File.Read(run.Offset, bytes);
        }
        catch (IOException failure)
        {
            return new FileDamage(run.Offset, "bytes that can be read", failure);
        }

        for (var i = 0; i < entries.Length; i++)
        {
            var frame = run.Frames[i];
            var start = (int)(frame.Offset - run.Offset);
            if (start + frame.SizeBytes > filled
                || TryDecode(bytes.AsMemory(start), run, i) is not { } entry)
            {
                return new FileDamage(frame.Offset, "the entry that was made durable there, with matching checksums");
            }

            entries[i] = entry;
        }

        return null;
    }

    private static LogEntry? TryDecode(ReadOnlyMemory<byte> bytes, in PinnedRun run, int ordinal)
    {
        if (!FrameHeader.TryDecode(bytes.Span, run.Segment.Seed, out var header, out _)
            || header.Index != run.First + ordinal
            || header.BodyBytes != run.Frames[ordinal].BodyBytes)
        {
            return null;
        }

        var body = bytes.Slice(FrameHeader.SizeBytes, header.BodyBytes);
        var entry = new LogEntry(
            header.Index, header.Term, header.Kind, header.Count, header.TimestampUnixMs, header.BodyCrc32C, body);
        return entry.BodyIsIntact() ? entry : null;
    }
}
