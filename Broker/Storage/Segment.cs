using Broker.Domain;

namespace Broker.Storage;

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

/// <summary>
/// One segment file and, at 8 bytes an entry, where its frames lie. Positions and file are guarded by <see
/// cref="SegmentSet"/>'s lock; the log writer alone changes them.
/// </summary>
internal sealed class Segment(string path, SegmentHeader header)
{
    private const int ChunkFrames = 1024;
    private readonly List<FramePosition[]> _chunks = [];

    public string Path { get; } = path;

    public SegmentHeader Header { get; } = header;

    public LogIndex First => Header.First;

    public LogIndex Last => First + (Count - 1);

    /// <summary>Seeds the CRC of every frame header of this segment.</summary>
    public uint Seed { get; } = FrameHeader.SeedOf(header.Nonce);

    public int Count { get; private set; }

    /// <summary>Where the next frame goes.</summary>
    public long TailOffset { get; private set; } = SegmentHeader.SizeBytes;

    /// <summary>Up to here the file's blocks were written, be it with zeros.</summary>
    public long WrittenToOffset { get; set; } = SegmentHeader.SizeBytes;

    /// <summary>Up to here frames may lie in the file, also those of a write that failed half-way.</summary>
    public long DirtyToOffset { get; set; } = SegmentHeader.SizeBytes;

    /// <summary>Null while no one reads or writes.</summary>
    public IStorageFile? File { get; set; }

    public int Users { get; set; }

    public bool IsRemoved { get; set; }

    public long LastUse { get; set; }

    public FramePosition this[int ordinal] => _chunks[ordinal / ChunkFrames][ordinal % ChunkFrames];

    public void Add(FramePosition position)
    {
        if (Count == _chunks.Count * ChunkFrames)
        {
            _chunks.Add(new FramePosition[ChunkFrames]);
        }

        _chunks[Count / ChunkFrames][Count % ChunkFrames] = position;
        Count++;
        TailOffset = position.EndOffset;
        DirtyToOffset = Math.Max(DirtyToOffset, TailOffset);
    }

    /// <summary>Forgets the frames from this ordinal on.</summary>
    public void CutTo(int count)
    {
        TailOffset = count == 0 ? SegmentHeader.SizeBytes : this[count - 1].EndOffset;
        Count = count;
        var chunks = (count + ChunkFrames - 1) / ChunkFrames;
        _chunks.RemoveRange(chunks, _chunks.Count - chunks);
    }
}
