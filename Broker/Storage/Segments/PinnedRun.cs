using Broker.Domain;

namespace Broker.Storage;

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
