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
