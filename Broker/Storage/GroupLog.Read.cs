using Broker.Domain;

namespace Broker.Storage;

public sealed partial class GroupLog
{
    /// <summary>
    /// Reads entries whose write has returned, in order, from any thread. Bodies of one call share buffers that no one
    /// changes.
    /// </summary>
    /// <param name="from">The first index, at least <see cref="FirstIndex"/>.</param>
    /// <param name="to">The last index, inclusive; what lies beyond the log's end is left out.</param>
    /// <param name="maxBytes">Stop before the sizes of the entries exceed this; the first entry is read whatever its
    /// size.</param>
    /// <param name="into">Where the entries are added.</param>
    /// <returns>The number of entries read; 0 when there is none at <paramref name="from"/>.</returns>
    /// <exception cref="StorageCorruptException">An entry on disk is not the one that was written.</exception>
    public int Read(LogIndex from, LogIndex to, int maxBytes, ICollection<LogEntry> into)
    {
        ThrowIfUnusable();
        ArgumentOutOfRangeException.ThrowIfLessThan(from.Value, FirstIndex.Value);
        var count = 0;
        var bytesLeft = (long)maxBytes;
        while (_segments.TryPin(from, to, bytesLeft, takeFirst: count == 0, out var run))
        {
            var entries = new LogEntry[run.Frames.Length];
            long? damage;
            bool isUncut;
            try
            {
                damage = ReadRun(run, entries);
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                throw new StorageException(
                    $"{run.Segment.Path} cannot be read at byte {run.Offset:N0}: {failure.Message}", failure);
            }
            finally
            {
                isUncut = _segments.Unpin(run);
            }

            if (!isUncut)
            {
                // A truncation came between: the bytes may be those of other entries by now. Look the position up
                // again.
                continue;
            }

            if (damage is { } offset)
            {
                throw new StorageCorruptException(
                    run.Segment.Path, offset, "the entry that was made durable there, with matching checksums");
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

    /// <summary>Bytes of a readable entry on disk, from any thread, without reading it.</summary>
    public int SizeBytesOf(LogIndex index)
    {
        ThrowIfUnusable();
        return _segments.SizeBytesOf(index);
    }

    /// <summary>Fills the entries; returns the offset of the first one that is not what it should be.</summary>
    private static long? ReadRun(in PinnedRun run, LogEntry[] entries)
    {
        var bytes = GC.AllocateUninitializedArray<byte>(run.FileBytes);
        var filled = run.File.Read(run.Offset, bytes);
        for (var i = 0; i < entries.Length; i++)
        {
            var frame = run.Frames[i];
            var start = (int)(frame.Offset - run.Offset);
            if (start + frame.SizeBytes > filled
                || !FrameHeader.TryDecode(bytes.AsSpan(start), run.Segment.Seed, out var header, out _)
                || header.Index != run.First + i
                || header.BodyBytes != frame.BodyBytes)
            {
                return frame.Offset;
            }

            var body = bytes.AsMemory(start + FrameHeader.SizeBytes, header.BodyBytes);
            var entry = new LogEntry(
                header.Index, header.Term, header.Kind, header.Count, header.TimestampUnixMs, header.BodyCrc32C, body);
            if (!entry.BodyIsIntact())
            {
                return frame.Offset;
            }

            entries[i] = entry;
        }

        return null;
    }
}
