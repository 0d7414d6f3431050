using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// The end of the log, for its one writer: appends entries to the active segment, and begins the next one when it is
/// full.
/// </summary>
internal sealed class LogTail
{
    private readonly GroupFolder _folder;
    private readonly StorageOptions _options;
    private readonly VoteFile _vote;
    private readonly SegmentSet _segments;
    private readonly SealedPositions _positions;

    /// <summary>What is to be written to the active segment next; empty between two writes.</summary>
    private readonly FrameBatch _batch = new();

    /// <summary>The active segment's file, held open; null while there is none.</summary>
    private IStorageFile? _file;

    /// <summary>Header CRC of the last frame: the chain that the next frame continues.</summary>
    private uint _lastCrc32C;

    /// <summary>The last index known durable: written into each frame, as a proof against cutting it off.</summary>
    private LogIndex _durable;

    public LogTail(
        GroupFolder folder,
        StorageOptions options,
        VoteFile vote,
        SegmentSet segments,
        SealedPositions positions,
        uint lastCrc32C)
    {
        _folder = folder;
        _options = options;
        _vote = vote;
        _segments = segments;
        _positions = positions;
        _lastCrc32C = lastCrc32C;
        _durable = segments.Last;
        _file = segments.Active is { } active ? segments.Acquire(active) : null;
    }

    /// <summary>
    /// Appends entries that follow the last one. When it returns they are durable, and readers see them.
    /// </summary>
    /// <exception cref="DiskFullException">Some of them may lie behind the log's end now: it must be cut back there
    /// before anything else is written.</exception>
    public void Append(List<LogEntry> entries)
    {
        Forget();
        _batch.Reserve(entries.Count);
        foreach (var entry in entries)
        {
            var frameBytes = FrameHeader.FrameBytes(entry.Body.Length);
            if (_segments.Active is not { } active || _batch.To + frameBytes > active.Header.CapacityBytes)
            {
                WriteBatch();
                Roll(entry.Index, frameBytes);
            }

            Add(entry);
        }

        WriteBatch();
        _file!.Sync();
        _durable = entries[^1].Index;
        _segments.Publish(_durable);
    }

    /// <summary>Forgets what was to be written.</summary>
    public void Forget() => _batch.Begin(_segments.Active?.TailOffset ?? 0);

    /// <summary>Nothing is appended to the present segment for now, since it may leave the log.</summary>
    public void Release()
    {
        if (_file is not null && _segments.Active is { } active)
        {
            _segments.Release(active);
            _file = null;
        }
    }

    /// <summary>The log ends with this entry, and the next one begins a segment.</summary>
    /// <param name="last">The last entry, or the base.</param>
    /// <param name="crc32C">What the next frame names as the CRC of the one before.</param>
    public void ContinueAfter(LogIndex last, uint crc32C)
    {
        _durable = last;
        _lastCrc32C = crc32C;
    }

    /// <summary>
    /// Wipes a segment from this entry on and appends to it again. Damage found here ends the process; the next start
    /// finds it too, and cuts and fences.
    /// </summary>
    public void Reopen(Segment segment, LogIndex from)
    {
        _segments.Reopen(segment, from);
        _file = _segments.Acquire(segment);
        var end = segment.DirtyToOffset;
        for (var offset = segment.TailOffset; offset < end; offset += FrameBatch.Zeros.Length)
        {
            _file.Write(offset, FrameBatch.Zeros.Span[..(int)Math.Min(FrameBatch.Zeros.Length, end - offset)]);
        }

        _file.Sync();
        segment.DirtyToOffset = segment.TailOffset;
        ContinueAfter(from.Previous(), ReadLastCrc(segment, _file));
    }

    private void Add(LogEntry entry)
    {
        _lastCrc32C = _batch.Add(
            entry, _durable, _vote.Current.TruncationEpoch, _lastCrc32C, _segments.Active!.Seed);
        _segments.Terms.Append(entry.Index, entry.Term);
    }

    private void WriteBatch()
    {
        if (_batch.Frames.Count == 0)
        {
            return;
        }

        var active = _segments.Active!;
        var zeros = ZerosAhead(active);
        _batch.AddZeros(zeros);
        active.DirtyToOffset = _batch.To;
        _file!.Write(_batch.From, _batch.Parts);
        active.WrittenToOffset = Math.Max(active.WrittenToOffset, _batch.To + zeros);
        _segments.Append(_batch.Frames);
        Forget();
    }

    /// <summary>See <see cref="StorageOptions.ZeroAheadBytes"/>.</summary>
    private long ZerosAhead(Segment active) =>
        _batch.To <= active.WrittenToOffset || _batch.SizeBytes > _options.ZeroAheadBytes / 2
            ? 0
            : Math.Min(_options.ZeroAheadBytes, active.Header.CapacityBytes - _batch.To);

    /// <summary>
    /// Begins a new segment. The old one is flushed before, and the new one gets its name only when its header and
    /// length are durable. It counts from the moment that the vote file names it: all before it is proven durable then,
    /// and recovery holds damage against that proof.
    /// </summary>
    private void Roll(LogIndex first, int frameBytes)
    {
        if (_file is not null)
        {
            _file.Sync();
            _durable = first.Previous();
        }

        var sealing = _segments.Active;
        var grown = sealing is null ? _options.FirstSegmentBytes : sealing.Header.CapacityBytes * 2;
        if (sealing is { Count: 0 })
        {
            DiscardActive();
            sealing = null;
        }

        var header = new SegmentHeader(
            _folder.Group,
            _folder.StoreId,
            first,
            _options.NewNonce(),
            _vote.Current.TruncationEpoch,
            _lastCrc32C,
            Math.Max(Math.Min(grown, _options.SegmentBytes), SegmentHeader.SizeBytes + frameBytes));
        var path = _folder.PathOf(GroupFolder.SegmentName(first));
        var file = SegmentFile.Create(_folder, path, header);
        var positions = sealing?.Positions;
        Release();
        _segments.Add(new Segment(path, header, _segments.NewPositions()) { File = file, Users = 1 });
        _file = file;
        _vote.Write(_vote.Current with { DurableFloor = first.Previous(), Active = header.AsActive() });
        Forget();
        if (sealing is not null)
        {
            // They may have been given up by now: then nobody else has their memory before the next roll.
            _positions.Write(sealing, positions!);
        }

        StorageEvents.SegmentCreated(_folder.Logger, _folder.Group, path, header.CapacityBytes);
    }

    /// <summary>
    /// A truncation has left the active segment empty, and the next entry is too large for it. The segment that holds
    /// the entry has the same first index, and so the same name; an empty sealed one must never stand beside it.
    /// </summary>
    private void DiscardActive()
    {
        lock (_positions.Gate)
        {
            var first = _segments.Last.Next();
            _vote.Write(_vote.Current with
            {
                DurableFloor = first.Previous(),
                Active = ActiveSegment.NotMadeYet(first),
            });
            Release();
            SegmentFile.Delete(_folder, [_segments.RemoveActive()]);
        }
    }

    private static uint ReadLastCrc(Segment segment, IStorageFile file)
    {
        if (segment.Count == 0)
        {
            return segment.Header.PreviousCrc32C;
        }

        var offset = segment.Positions![segment.Count - 1].Offset;
        Span<byte> bytes = stackalloc byte[FrameHeader.SizeBytes];
        if (file.Read(offset, bytes) < bytes.Length
            || !FrameHeader.TryDecode(bytes, segment.Seed, out var header, out var crc)
            || header.Index != segment.Last)
        {
            throw new StorageCorruptException(segment.Path, offset, $"the header of entry {segment.Last}");
        }

        return crc;
    }
}
