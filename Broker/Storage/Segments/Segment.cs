using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// One segment file and what is known of it. Guarded by <see cref="SegmentSet"/>'s lock; the log writer alone changes
/// the active one. A sealed segment's positions are in memory only while they are used, see <see
/// cref="StorageOptions.LoadedSealedSegments"/>.
/// </summary>
internal sealed class Segment
{
    private int _sealedCount;
    private long _sealedTailOffset;

    /// <summary>A segment that is appended to.</summary>
    public Segment(string path, SegmentHeader header, FramePositions positions)
    {
        Path = path;
        Header = header;
        Seed = header.Seed;
        Positions = positions;
        DirtyToOffset = WrittenToOffset = positions.EndOffset;
    }

    /// <summary>A sealed segment, as its positions file describes it.</summary>
    public Segment(string path, SealedMetadata known)
    {
        Path = path;
        Header = known.Header;
        Seed = known.Header.Seed;
        SuccessorCrc32C = known.SuccessorCrc32C;
        IsSealed = true;
        _sealedCount = known.Count;
        _sealedTailOffset = known.TailOffset;
    }

    public string Path { get; }

    public SegmentHeader Header { get; }

    /// <summary>Seeds the CRC of every frame header of this segment.</summary>
    public uint Seed { get; }

    public LogIndex First => Header.First;

    public LogIndex Last => First + (Count - 1);

    public int Count => Positions?.Count ?? _sealedCount;

    /// <summary>Where the next frame goes, or would.</summary>
    public long TailOffset => Positions?.EndOffset ?? _sealedTailOffset;

    /// <summary>Null while the positions of a sealed segment are not in memory.</summary>
    public FramePositions? Positions { get; private set; }

    /// <summary>Nothing is appended any more.</summary>
    public bool IsSealed { get; private set; }

    /// <summary>Of a sealed segment: what its successor names as the CRC of the frame before it.</summary>
    public uint SuccessorCrc32C { get; private set; }

    /// <summary>What its entries through here said was given up, see <see cref="GroupLog.HollowSegment"/>.</summary>
    public LogIndex HollowThrough => Header.HollowThrough;

    /// <summary>Something in the file is not what was written; it waits to be replaced.</summary>
    public bool IsDamaged { get; set; }

    /// <summary>Up to here the file's blocks were written, be it with zeros.</summary>
    public long WrittenToOffset { get; set; } = SegmentHeader.SizeBytes;

    /// <summary>Up to here frames may lie in the file, also those of a write that failed half-way.</summary>
    public long DirtyToOffset { get; set; } = SegmentHeader.SizeBytes;

    /// <summary>Null while no one reads or writes.</summary>
    public IStorageFile? File { get; set; }

    public int Users { get; set; }

    public bool IsRemoved { get; set; }

    public long LastUse { get; set; }

    public void Add(FramePosition position)
    {
        Positions!.Add(position);
        DirtyToOffset = Math.Max(DirtyToOffset, position.EndOffset);
    }

    public void Seal(uint successorCrc32C)
    {
        IsSealed = true;
        SuccessorCrc32C = successorCrc32C;
    }

    /// <summary>Appended to again, behind its first frames: later ones were truncated.</summary>
    public void Unseal(int count)
    {
        DirtyToOffset = Math.Max(DirtyToOffset, Positions!.EndOffset);
        WrittenToOffset = Math.Max(WrittenToOffset, DirtyToOffset);
        Positions.CutTo(count);

        // What is left of a sealed one has just been read: the damage was in what goes.
        IsDamaged &= !IsSealed;
        IsSealed = false;
    }

    public void Load(FramePositions positions) => Positions = positions;

    /// <summary>Gives up its positions, to be read again from their file; their memory is the caller's.</summary>
    public FramePositions Unload()
    {
        var unloaded = Positions!;
        _sealedCount = unloaded.Count;
        _sealedTailOffset = unloaded.EndOffset;
        Positions = null;
        return unloaded;
    }

    public SealedMetadata Describe(IReadOnlyList<TermRun> runs) =>
        new(Header, Last, SuccessorCrc32C, TailOffset, runs);
}

/// <summary>All that a log needs to know of a sealed segment to go on without it, until it is replaced.</summary>
/// <param name="Header">The segment's own header, which may be lost.</param>
/// <param name="Last">Its last index.</param>
/// <param name="SuccessorCrc32C">What the next segment names as the CRC of the frame before it.</param>
/// <param name="TailOffset">Where its last frame ends.</param>
/// <param name="Terms">The terms of its entries.</param>
internal sealed record SealedMetadata(
    SegmentHeader Header, LogIndex Last, uint SuccessorCrc32C, long TailOffset, IReadOnlyList<TermRun> Terms)
{
    public int Count => checked((int)(Last - Header.First) + 1);
}

/// <summary>A segment that nothing is appended to any more.</summary>
/// <param name="First">Its first entry.</param>
/// <param name="Last">Its last entry.</param>
/// <param name="SizeBytes">What its entries take in the file.</param>
/// <param name="IsDamaged">Something in it is not what was written: it waits for <see
/// cref="GroupLog.ReplaceSegment"/>.</param>
/// <param name="HollowThrough">What its entries through here say is not kept here, see <see
/// cref="GroupLog.HollowSegment"/>; none: all is.</param>
public readonly record struct SealedSegment(
    LogIndex First, LogIndex Last, long SizeBytes, bool IsDamaged, LogIndex HollowThrough = default)
{
    /// <summary>
    /// It waits until it may be filled. Of one that has hollow entries and others behind them nobody has more.
    /// </summary>
    public bool IsHollow => HollowThrough == Last;
}
