using Broker.Domain;

namespace Broker.Storage;

/// <summary>Sealed segments: known by their positions files, read only where these are missing.</summary>
internal sealed partial class LogRecovery
{
    /// <summary>False when the log had to be cut before one of them.</summary>
    private bool TryOpenSealed()
    {
        var firsts = new SortedSet<long>();
        foreach (var name in folder.List())
        {
            if ((GroupFolder.TryParseSegment(name, out var first) || GroupFolder.TryParsePositions(name, out first))
                && first < Vote.Active.First)
            {
                firsts.Add(first.Value);
            }
        }

        var borders = firsts.Append(Vote.Active.First.Value).Select(static first => new LogIndex(first)).ToList();
        for (var i = 0; i + 1 < borders.Count; i++)
        {
            var path = folder.PathOf(GroupFolder.SegmentName(borders[i]));
            var state = SegmentFile.Inspect(folder, path, out var header);
            if (state == SegmentFileState.Sound && header.MergedLast >= borders[i + 1])
            {
                DeleteMerged(borders, i + 1, header.MergedLast);
            }

            if (borders[i] != _chain.Next || !TryOpenSealed(path, state, header, borders[i + 1]))
            {
                break;
            }
        }

        if (_chain.Next == Vote.Active.First)
        {
            return true;
        }

        StorageEvents.SegmentLost(folder.Logger, folder.Group, folder.PathOf(GroupFolder.SegmentName(_chain.Next)));
        var fence = FindFence(Vote.Active.First, SegmentHeader.SizeBytes);
        if (HasState(upTo: _chain.Next.Previous()))
        {
            Cut(fence, Vote.Base);
        }
        else
        {
            StartOver(fence);
        }

        return false;
    }

    /// <summary>A crash came after a segment had taken the place of several, before their files were deleted.</summary>
    private void DeleteMerged(List<LogIndex> borders, int at, LogIndex last)
    {
        while (at + 1 < borders.Count && borders[at] <= last)
        {
            var merged = borders[at];
            borders.RemoveAt(at);
            foreach (var name in (string[])[
                GroupFolder.IndexName(merged), GroupFolder.PositionsName(merged), GroupFolder.SegmentName(merged)])
            {
                folder.DeleteIfThere(folder.PathOf(name));
            }
        }

        folder.Sync();
    }

    /// <param name="path">The segment's file.</param>
    /// <param name="state">What that looks like.</param>
    /// <param name="header">Its header, where that is sound.</param>
    /// <param name="next">The first index of the next file that is there.</param>
    private bool TryOpenSealed(string path, SegmentFileState state, in SegmentHeader header, LogIndex next)
    {
        var first = _chain.Next;
        var known = PositionsFile.TryReadDirectory(folder, first);
        if (known is not null && (!_chain.IsContinuedBy(known.Header) || known.Last >= next))
        {
            known = null;
        }

        var isSound = state == SegmentFileState.Sound && _chain.IsContinuedBy(header);
        if (isSound && known is not null && known.Header.Nonce == header.Nonce && known.Last.Next() == next)
        {
            known = known with { Header = known.Header with { HollowThrough = header.HollowThrough } };
            _chain.Take(new Segment(path, known), known);
            return true;
        }

        if (isSound && TryScanSealed(path, header, next))
        {
            return true;
        }

        if (known is null)
        {
            return false;
        }

        StorageEvents.SegmentDamaged(
            folder.Logger, folder.Group, path, 0, "the segment that its positions file describes");
        _chain.Take(new Segment(path, known) { IsDamaged = true }, known);
        return true;
    }

    /// <summary>Reads a segment without a usable positions file; false unless all of it is intact.</summary>
    private bool TryScanSealed(string path, in SegmentHeader header, LogIndex next)
    {
        using var file = folder.Device.Open(path, create: false);
        var scan = FrameScan.Run(file, header, Vote);
        if (scan.Expected != next)
        {
            return false;
        }

        // Its frames may be those of a process that was killed, in the page cache only.
        file.Sync();
        var segment = new Segment(path, header, scan.Positions);
        segment.Seal(scan.Crc32C);
        var isReplacement = header.ReplacedLast == segment.Last;
        _chain.Take(segment, scan.Terms.Current, scan.Crc32C, isReplacement ? header.SuccessorCrc32C : scan.Crc32C);
        if (!isReplacement)
        {
            WritePositions(segment);
        }

        return true;
    }

    /// <summary>
    /// Writes the file that the next start reads instead of the segment, and lets go of the positions. A full disk is
    /// no reason not to start.
    /// </summary>
    private void WritePositions(Segment segment)
    {
        try
        {
            var known = segment.Describe(_chain.Terms.Between(segment.First, segment.Last));
            PositionsFile.Write(folder, known, segment.Positions!);
        }
        catch (DiskFullException failure)
        {
            StorageEvents.PositionsNotWritten(folder.Logger, failure, folder.Group, segment.Path);
        }

        segment.Unload();
    }
}
