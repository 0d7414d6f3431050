using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// Reads a segment's frames from its beginning, as long as each is intact, has the next index, continues the chain and
/// was not truncated.
/// </summary>
internal sealed class FrameScan
{
    public FramePositions Positions { get; } = new();

    public TermRuns Terms { get; } = new();

    /// <summary>The header CRC of the last frame that was taken, or what the first one must name.</summary>
    public uint Crc32C { get; private set; }

    /// <summary>The index of the frame that was not there.</summary>
    public LogIndex Expected { get; private set; }

    /// <summary>The disk could not read what follows.</summary>
    public bool IsUnreadable { get; private set; }

    public static FrameScan Run(IStorageFile file, in SegmentHeader header, VoteRecord vote)
    {
        var scan = new FrameScan { Crc32C = header.PreviousCrc32C, Expected = header.First };
        try
        {
            var window = new FileWindow(file, header.CapacityBytes);
            var seed = header.Seed;
            while (scan.TryTake(window, seed, vote))
            {
                // The loop's work is its condition.
            }
        }
        catch (IOException)
        {
            // What the disk cannot read is lost, as if it held other bytes; the caller decides what follows from it.
            scan.IsUnreadable = true;
        }

        return scan;
    }

    private bool TryTake(FileWindow window, uint seed, VoteRecord vote)
    {
        var offset = Positions.EndOffset;
        var bytes = window.Get(offset, FrameHeader.SizeBytes);
        if (!FrameHeader.TryDecode(bytes, seed, out var header, out var crc)
            || header.Index != Expected
            || header.PreviousCrc32C != Crc32C
            || vote.IsVoid(header.Index, header.TruncationEpoch))
        {
            return false;
        }

        var body = window.Get(offset + FrameHeader.SizeBytes, header.BodyBytes);
        if (body.Length < header.BodyBytes || Domain.Crc32C.Compute(body) != header.BodyCrc32C)
        {
            return false;
        }

        Positions.Add(new FramePosition(offset, header.BodyBytes));
        Terms.Append(header.Index, header.Term);
        Crc32C = crc;
        Expected = Expected.Next();
        return true;
    }
}
