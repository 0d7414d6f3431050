using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// Looks at what lies behind a segment's last good frame: nothing, or what a torn write left, or a proof of damage.
/// </summary>
internal sealed class TailCheck
{
    private const int PieceBytes = 64 * 1024;

    /// <summary>Where a frame lies that was written after the expected entry had been durable; null: nowhere.</summary>
    public long? ProofOffset { get; private set; }

    /// <summary>The highest entry among the frame headers that are intact.</summary>
    public LogPosition Last { get; private set; }

    /// <summary>The disk could not read all of it.</summary>
    public bool IsUnreadable { get; private set; }

    /// <summary>
    /// Looks at every eighth byte for frame headers. Their checksum is seeded by the segment's nonce, so neither a
    /// message's bytes nor another file's frames pass for one.
    /// </summary>
    public static TailCheck Run(
        IStorageFile file, in SegmentHeader header, long from, LogIndex expected, VoteRecord vote)
    {
        var check = new TailCheck();
        try
        {
            check.Search(file, header, from, expected, vote);
        }
        catch (IOException)
        {
            // What the disk cannot read is lost, as if it held other bytes; the caller decides what follows from it.
            check.IsUnreadable = true;
        }

        return check;
    }

    /// <summary>Whether no frame was ever begun behind the last one, as far as the file reaches.</summary>
    public static bool IsUntouched(IStorageFile file, long from)
    {
        Span<byte> bytes = stackalloc byte[FrameHeader.SizeBytes];
        return file.Read(from, bytes) == bytes.Length && !bytes.ContainsAnyExcept((byte)0);
    }

    /// <summary>
    /// Zeroes what lies behind the last good frame; true when there was anything. The caller flushes.
    /// </summary>
    public static bool Clean(IStorageFile file, long from, long capacityBytes)
    {
        var window = new FileWindow(file, capacityBytes);
        var isTorn = false;
        for (var offset = from; offset < capacityBytes; offset += PieceBytes)
        {
            var piece = window.Get(offset, PieceBytes);
            if (piece.ContainsAnyExcept((byte)0))
            {
                isTorn = true;
                file.Write(offset, new byte[piece.Length]);
            }
        }

        return isTorn;
    }

    private void Search(IStorageFile file, in SegmentHeader header, long from, LogIndex expected, VoteRecord vote)
    {
        var seed = header.Seed;
        var window = new FileWindow(file, header.CapacityBytes);
        for (var offset = from; offset < header.CapacityBytes; offset += PieceBytes)
        {
            // Pieces overlap by a header, so that one on their border is seen whole.
            var piece = window.Get(offset, PieceBytes + FrameHeader.SizeBytes - 1);
            for (var at = 0; (at = NextMagic(piece, at)) >= 0; at++)
            {
                if (at % FrameHeader.AlignmentBytes == 0
                    && FrameHeader.TryDecode(piece[at..], seed, out var frame, out _)
                    && !vote.IsVoid(frame.Index, frame.TruncationEpoch))
                {
                    ProofOffset ??= frame.DurableFloor >= expected ? offset + at : null;
                    Last = frame.Index > Last.Index ? new LogPosition(frame.Index, frame.Term) : Last;
                }
            }
        }
    }

    private static int NextMagic(ReadOnlySpan<byte> piece, int from)
    {
        var hit = from < piece.Length ? piece[from..].IndexOf(FrameHeader.Magic) : -1;
        return hit < 0 ? -1 : from + hit;
    }
}
