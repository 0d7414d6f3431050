using Broker.Domain;

namespace Broker.Storage;

/// <summary>A log's files at rest, as <see cref="Scrubber"/> checks them, piece by piece.</summary>
internal sealed class LogScrub(
    GroupFolder folder,
    SegmentSet segments,
    SealedPositions positions,
    LogReader reader,
    SnapshotFiles snapshots,
    IndexFiles indexes)
{
    /// <inheritdoc cref="IScrubbed.ScrubItems"/>
    public IReadOnlyList<ScrubItem> Items()
    {
        var items = new List<ScrubItem>();
        foreach (var segment in segments.Sealed())
        {
            if (!segment.IsDamaged)
            {
                items.Add(new ScrubItem(ScrubKind.Segment, segment.First));
                items.Add(new ScrubItem(ScrubKind.Positions, segment.First));
            }
        }

        foreach (var first in indexes.List())
        {
            if (!indexes.IsDamaged(first))
            {
                items.Add(new ScrubItem(ScrubKind.Index, first));
            }
        }

        items.AddRange(snapshots.List().Select(static index => new ScrubItem(ScrubKind.Snapshot, index)));
        return items;
    }

    /// <inheritdoc cref="IScrubbed.Verify"/>
    public ScrubPiece Verify(ScrubItem item, long cursor, int maxBytes) => item.Kind switch
    {
        ScrubKind.Segment => VerifySegment(item.First, cursor, maxBytes),
        ScrubKind.Positions => positions.Verify(item.First),
        ScrubKind.Index => indexes.Verify(item.First, cursor, maxBytes),
        _ => snapshots.Verify(item.First, cursor, maxBytes),
    };

    /// <summary>
    /// The cursor counts entries. The header and the file's length are looked at with the first ones.
    /// </summary>
    private ScrubPiece VerifySegment(LogIndex first, long cursor, int maxBytes)
    {
        if (segments.FindSealed(first) is not { } segment)
        {
            return ScrubPiece.Nothing;
        }

        var headerBytes = cursor == 0 ? SegmentHeader.SizeBytes : 0;
        if (cursor == 0 && !HasSoundHeader(segment))
        {
            return ScrubPiece.Damaged(headerBytes);
        }

        if (first + cursor <= segment.HollowThrough)
        {
            // Nobody reads these; what is behind them comes next.
            var behind = segment.HollowThrough - first + 1;
            return new ScrubPiece(behind < segment.Count ? behind : ScrubPiece.End, headerBytes, IsIntact: true);
        }

        var entries = new List<LogEntry>();
        try
        {
            var count = reader.Read(first + cursor, segment.Last, maxBytes, entries);
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
        lock (positions.Gate)
        {
            if (segment.IsRemoved || !segment.IsSealed)
            {
                return true;
            }

            var state = SegmentFile.Inspect(folder, segment.Path, out var header);
            if (state == SegmentFileState.Sound && header.Nonce == segment.Header.Nonce)
            {
                return true;
            }

            _ = segments.Damaged(segment, 0, "the segment's header, and its length");
            return false;
        }
    }
}
