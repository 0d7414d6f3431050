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

/// <summary>
/// Where a frame lies in its segment: its offset in units of <see cref="FrameHeader.AlignmentBytes"/>, and its body's
/// length.
/// </summary>
internal readonly record struct FramePosition(uint Unit, int BodyBytes)
{
    public FramePosition(long offset, int bodyBytes)
        : this(checked((uint)(offset / FrameHeader.AlignmentBytes)), bodyBytes)
    {
    }

    public long Offset => (long)Unit * FrameHeader.AlignmentBytes;

    public int SizeBytes => FrameHeader.SizeBytes + BodyBytes;

    public long EndOffset => Offset + FrameHeader.FrameBytes(BodyBytes);
}

/// <summary>Where a segment's frames lie, at 8 bytes an entry.</summary>
internal sealed class FramePositions
{
    private const int ChunkFrames = 1024;
    private readonly List<FramePosition[]> _chunks = [];

    public int Count { get; private set; }

    /// <summary>Where the next frame goes.</summary>
    public long EndOffset { get; private set; } = SegmentHeader.SizeBytes;

    public FramePosition this[int ordinal] => _chunks[ordinal / ChunkFrames][ordinal % ChunkFrames];

    public void Add(FramePosition position)
    {
        if (Count == _chunks.Count * ChunkFrames)
        {
            _chunks.Add(new FramePosition[ChunkFrames]);
        }

        _chunks[Count / ChunkFrames][Count % ChunkFrames] = position;
        Count++;
        EndOffset = position.EndOffset;
    }

    /// <summary>Adds a frame that follows the last one.</summary>
    public void AddNext(int bodyBytes) => Add(new FramePosition(EndOffset, bodyBytes));

    /// <summary>Forgets all frames, and keeps the memory for those of another segment.</summary>
    public void Clear()
    {
        Count = 0;
        EndOffset = SegmentHeader.SizeBytes;
    }

    /// <summary>Forgets the frames from this ordinal on, and lets go of the memory that is left over.</summary>
    public void CutTo(int count)
    {
        EndOffset = count == 0 ? SegmentHeader.SizeBytes : this[count - 1].EndOffset;
        Count = count;
        var chunks = (count + ChunkFrames - 1) / ChunkFrames;
        _chunks.RemoveRange(chunks, _chunks.Count - chunks);
    }
}
