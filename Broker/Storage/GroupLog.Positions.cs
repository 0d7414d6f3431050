namespace Broker.Storage;

/// <summary>The positions of sealed segments: written at the seal, loaded when they are wanted.</summary>
public sealed partial class GroupLog
{
    /// <summary>
    /// Held while positions files and the segments that they describe change, so that neither a reader nor a repair
    /// writes one for a segment that is appended to again. Taken before the lock of <see cref="SegmentSet"/>.
    /// </summary>
    private readonly Lock _sideFiles = new();

    private string PositionsPathOf(Segment segment) =>
        _folder.PathOf(GroupFolder.PositionsName(segment.First));

    /// <summary>Writes the file of a segment that is sealed; a full disk only makes the next start slower.</summary>
    private void WritePositions(Segment segment, FramePositions positions)
    {
        lock (_sideFiles)
        {
            try
            {
                var known = segment.Describe(_runs.Between(segment.First, segment.Last));
                PositionsFile.Write(_folder, known, positions);
            }
            catch (DiskFullException failure)
            {
                StorageEvents.PositionsNotWritten(_folder.Logger, failure, _folder.Group, segment.Path);
            }
        }
    }

    /// <summary>Takes a segment's positions into memory: from their file, or from the segment itself.</summary>
    /// <exception cref="StorageCorruptException">Both are damaged; the segment is marked.</exception>
    private void LoadPositions(Segment segment)
    {
        lock (_sideFiles)
        {
            if (segment.IsRemoved || segment.Positions is not null)
            {
                return;
            }

            var positions = PositionsFile.TryReadPositions(_folder, segment);
            if (positions is null)
            {
                positions = ScanPositions(segment);
                if (positions is null)
                {
                    throw Damaged(segment, SegmentHeader.SizeBytes, "frames, as no positions file says where they lie");
                }
            }

            _segments.Load(segment, positions);
        }
    }

    /// <summary>Makes the positions anew from the segment; null when it is damaged.</summary>
    private FramePositions? ScanPositions(Segment segment)
    {
        if (!_folder.Device.Exists(segment.Path))
        {
            return null;
        }

        using var file = _folder.Device.Open(segment.Path, create: false);
        var scan = FrameScan.Run(file, segment.Header, _vote.Current);
        if (scan.Positions.Count != segment.Count)
        {
            return null;
        }

        StorageEvents.PositionsRebuilt(_folder.Logger, _folder.Group, segment.Path);
        if (segment.IsSealed)
        {
            RewritePositions(segment.Describe(scan.Runs.Current), scan.Positions);
        }

        return scan.Positions;
    }

    /// <summary>For readers and repair: the file is a help only, so its failure is no failure of the log.</summary>
    private void RewritePositions(SealedMetadata known, FramePositions positions)
    {
        try
        {
            PositionsFile.Write(_folder, known, positions);
        }
        catch (IOException failure)
        {
            StorageEvents.PositionsNotWritten(
                _folder.Logger, failure, _folder.Group, _folder.PathOf(GroupFolder.SegmentName(known.Header.First)));
        }
    }

    /// <summary>Takes note of damage, once.</summary>
    private StorageCorruptException Damaged(Segment segment, long offset, string expected, Exception? cause = null)
    {
        if (_segments.TryMarkDamaged(segment))
        {
            StorageEvents.SegmentDamaged(_folder.Logger, _folder.Group, segment.Path, offset, expected);
        }

        return new StorageCorruptException(segment.Path, offset, expected, cause);
    }
}
