using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// Looks at what lies behind a segment's last good frame: nothing, or what a torn write left, or a proof of damage.
/// </summary>
internal static class TailCheck
{
    private const int PieceBytes = 64 * 1024;

    /// <summary>
    /// Searches for a frame, at every eighth byte, that was written after the expected entry had been durable. Its
    /// header's checksum is seeded by the segment's nonce, so neither a message's bytes nor another file's frames pass
    /// for one.
    /// </summary>
    public static long? FindProof(Segment segment, LogIndex expected, uint truncationEpoch)
    {
        var window = new FileWindow(segment.File!, segment.Header.CapacityBytes);
        for (var offset = segment.TailOffset; offset < segment.Header.CapacityBytes; offset += PieceBytes)
        {
            // Pieces overlap by a header, so that one on their border is seen whole.
            var piece = window.Get(offset, PieceBytes + FrameHeader.SizeBytes - 1);
            var at = 0;
            while (true)
            {
                var hit = piece[at..].IndexOf(FrameHeader.Magic);
                if (hit < 0)
                {
                    break;
                }

                at += hit;
                if (at % FrameHeader.AlignmentBytes == 0
                    && FrameHeader.TryDecode(piece[at..], segment.Seed, out var header, out _)
                    && header.TruncationEpoch == truncationEpoch
                    && header.DurableFloor >= expected)
                {
                    return offset + at;
                }

                at++;
            }
        }

        return null;
    }

    /// <summary>
    /// Zeroes what lies behind the last good frame; true when there was anything. The caller flushes.
    /// </summary>
    public static bool Clean(Segment segment)
    {
        var window = new FileWindow(segment.File!, segment.Header.CapacityBytes);
        var isTorn = false;
        for (var offset = segment.TailOffset; offset < segment.Header.CapacityBytes; offset += PieceBytes)
        {
            var piece = window.Get(offset, PieceBytes);
            if (piece.ContainsAnyExcept((byte)0))
            {
                isTorn = true;
                segment.File!.Write(offset, new byte[piece.Length]);
            }
        }

        return isTorn;
    }
}
