using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// Where the frames of a log's sealed segments lie: written beside the segment at its seal, taken into memory when they
/// are wanted, and made anew from the segment when their file is missing or bad.
/// </summary>
internal sealed class SealedPositions(GroupFolder folder, VoteFile vote, SegmentSet segments)
{
    /// <summary>
    /// Held while positions files and the segments that they describe change, so that neither a reader nor a repair
    /// writes one for a segment that is appended to again. Taken before the lock of <see cref="SegmentSet"/>.
    /// </summary>
    public Lock Gate { get; } = new();

    /// <summary>Writes the file of a segment that is sealed; a full disk only makes the next start slower.</summary>
    public void Write(Segment segment, FramePositions positions)
    {
        lock (Gate)
        {
            try
            {
                PositionsFile.Write(folder, segments.MetadataOf(segment), positions);
            }
            catch (DiskFullException failure)
            {
                StorageEvents.PositionsNotWritten(folder.Logger, failure, folder.Group, segment.Path);
            }
        }
    }

    /// <summary>For readers and repair: the file is a help only, so its failure is no failure of the log.</summary>
    public void Rewrite(SealedMetadata known, FramePositions positions)
    {
        try
        {
            PositionsFile.Write(folder, known, positions);
        }
        catch (IOException failure)
        {
            StorageEvents.PositionsNotWritten(
                folder.Logger, failure, folder.Group, folder.PathOf(GroupFolder.SegmentName(known.Header.First)));
        }
    }

    /// <summary>Takes a segment's positions into memory: from their file, or from the segment itself.</summary>
    /// <exception cref="StorageCorruptException">Both are damaged; the segment is marked.</exception>
    public void Load(Segment segment)
    {
        lock (Gate)
        {
            if (segment.IsRemoved || segment.Positions is not null)
            {
                return;
            }

            var positions = PositionsFile.TryReadPositions(folder, segment) ?? Scan(segment) ?? throw Lost(segment);
            segments.Load(segment, positions);
        }
    }

    /// <summary>
    /// Checks the file of a segment. A damaged one, or one that a full disk had no room for, is made anew at once.
    /// </summary>
    public ScrubPiece Verify(LogIndex first)
    {
        lock (Gate)
        {
            if (segments.FindSealed(first) is not { } segment)
            {
                return ScrubPiece.Nothing;
            }

            var path = PositionsFile.PathOf(folder, first);
            var exists = folder.Device.Exists(path);
            var bytes = exists ? (int)folder.Device.Length(path) : 0;
            if (PositionsFile.TryReadPositions(folder, segment) is not null)
            {
                return new ScrubPiece(ScrubPiece.End, bytes, IsIntact: true);
            }

            if (Scan(segment) is null)
            {
                _ = Lost(segment);
            }

            return exists ? ScrubPiece.Damaged(bytes) : ScrubPiece.Nothing;
        }
    }

    /// <summary>Makes the positions anew from the segment; null when it is damaged.</summary>
    private FramePositions? Scan(Segment segment)
    {
        if (!folder.Device.Exists(segment.Path))
        {
            return null;
        }

        using var file = folder.Device.Open(segment.Path, create: false);
        var scan = FrameScan.Run(file, segment.Header, vote.Current);
        if (scan.Positions.Count != segment.Count)
        {
            return null;
        }

        StorageEvents.PositionsRebuilt(folder.Logger, folder.Group, segment.Path);
        if (segment.IsSealed)
        {
            Rewrite(segment.Describe(scan.Terms.Current), scan.Positions);
        }

        return scan.Positions;
    }

    private StorageCorruptException Lost(Segment segment) => segments.Damaged(
        segment, SegmentHeader.SizeBytes, "frames, as no positions file says where they lie");
}
