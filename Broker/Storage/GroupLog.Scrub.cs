using Broker.Domain;

namespace Broker.Storage;

/// <summary>The check of files at rest, for <see cref="Scrubber"/>.</summary>
public sealed partial class GroupLog : IScrubbed
{
    GroupId IScrubbed.Group => _folder.Group;

    IReadOnlyList<ScrubItem> IScrubbed.ScrubItems()
    {
        ThrowIfUnusable();
        var items = new List<ScrubItem>();
        foreach (var segment in SealedSegments)
        {
            if (!segment.IsDamaged)
            {
                items.Add(new ScrubItem(ScrubKind.Segment, segment.First));
                items.Add(new ScrubItem(ScrubKind.Positions, segment.First));
            }
        }

        foreach (var first in Indexes.List())
        {
            if (!Indexes.IsDamaged(first))
            {
                items.Add(new ScrubItem(ScrubKind.Index, first));
            }
        }

        items.AddRange(Snapshots.List().Select(static index => new ScrubItem(ScrubKind.Snapshot, index)));
        return items;
    }

    ScrubPiece IScrubbed.Verify(ScrubItem item, long cursor, int maxBytes)
    {
        ThrowIfUnusable();
        return item.Kind switch
        {
            ScrubKind.Segment => VerifySegment(item.First, cursor, maxBytes),
            ScrubKind.Positions => VerifyPositions(item.First),
            ScrubKind.Index => Indexes.Verify(item.First, cursor, maxBytes),
            _ => Snapshots.Verify(item.First, cursor, maxBytes),
        };
    }

    /// <summary>
    /// The cursor counts entries. The header and the file's length are looked at with the first ones.
    /// </summary>
    private ScrubPiece VerifySegment(LogIndex first, long cursor, int maxBytes)
    {
        if (_segments.FindSealed(first) is not { } segment)
        {
            return ScrubPiece.Nothing;
        }

        var headerBytes = cursor == 0 ? SegmentHeader.SizeBytes : 0;
        if (cursor == 0 && !HasSoundHeader(segment))
        {
            return ScrubPiece.Damaged(headerBytes);
        }

        var entries = new List<LogEntry>();
        try
        {
            var count = Read(first + cursor, segment.Last, maxBytes, entries);
            var next = count == 0 || first + (cursor + count) > segment.Last ? ScrubPiece.End : cursor + count;
            return new ScrubPiece(next, headerBytes + entries.Sum(static entry => entry.SizeBytes), IsIntact: true);
        }
        catch (StorageCorruptException)
        {
            // Marked and logged already.
            return ScrubPiece.Damaged(headerBytes + maxBytes);
        }
    }

    private bool HasSoundHeader(Segment segment)
    {
        lock (_sideFiles)
        {
            if (segment.IsRemoved || !segment.IsSealed)
            {
                return true;
            }

            var state = SegmentFile.Inspect(_folder, segment.Path, out var header);
            if (state == SegmentFileState.Sound && header.Nonce == segment.Header.Nonce)
            {
                return true;
            }

            _ = Damaged(segment, 0, "the segment's header, and its length");
            return false;
        }
    }

    /// <summary>A damaged positions file, or one that a full disk had no room for, is made anew at once.</summary>
    private ScrubPiece VerifyPositions(LogIndex first)
    {
        lock (_sideFiles)
        {
            if (_segments.FindSealed(first) is not { } segment)
            {
                return ScrubPiece.Nothing;
            }

            var exists = _folder.Device.Exists(PositionsPathOf(segment));
            var bytes = exists ? (int)_folder.Device.Length(PositionsPathOf(segment)) : 0;
            if (PositionsFile.TryReadPositions(_folder, segment) is not null)
            {
                return new ScrubPiece(ScrubPiece.End, bytes, IsIntact: true);
            }

            if (ScanPositions(segment) is null)
            {
                _ = Damaged(segment, SegmentHeader.SizeBytes, "frames, as no positions file says where they lie");
            }

            return exists ? ScrubPiece.Damaged(bytes) : ScrubPiece.Nothing;
        }
    }
}
