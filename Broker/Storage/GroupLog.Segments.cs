using Broker.Domain;

namespace Broker.Storage;

public sealed partial class GroupLog
{
    private const string NextSegmentName = "segment" + GroupFolder.TemporarySuffix;

    /// <summary>
    /// Begins a new segment. The old one is flushed before, and the new one gets its name only when its header and
    /// length are durable. It counts from the moment that the vote file names it: all before it is proven durable then,
    /// and recovery holds damage against that proof.
    /// </summary>
    private void Roll(LogIndex first, int frameBytes)
    {
        if (_activeFile is not null)
        {
            _activeFile.Sync();
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
        var file = CreateSegmentFile(path, header);
        var positions = sealing?.Positions;
        ReleaseActive();
        _segments.Add(new Segment(path, header, _segments.NewPositions()) { File = file, Users = 1 });
        _activeFile = file;
        _vote.Write(_vote.Current with { DurableFloor = first.Previous(), Active = header.AsActive() });
        ClearStaged();
        if (sealing is not null)
        {
            // They may have been given up by now: then nobody else has their memory before the next roll.
            WritePositions(sealing, positions!);
        }

        StorageEvents.SegmentCreated(_folder.Logger, _folder.Group, path, header.CapacityBytes);
    }

    /// <summary>
    /// A truncation has left the active segment empty, and the next entry is too large for it. The segment that holds
    /// the entry has the same first index, and so the same name; an empty sealed one must never stand beside it.
    /// </summary>
    private void DiscardActive()
    {
        lock (_sideFiles)
        {
            var first = LastIndex.Next();
            _vote.Write(_vote.Current with
            {
                DurableFloor = first.Previous(),
                Active = ActiveSegment.NotMadeYet(first),
            });
            ReleaseActive();
            DeleteSegments([_segments.RemoveActive()]);
        }
    }

    private IStorageFile CreateSegmentFile(string path, in SegmentHeader header)
    {
        var temporary = _folder.PathOf(NextSegmentName);
        if (_folder.Device.Exists(temporary))
        {
            _folder.Device.Delete(temporary);
        }

        var block = new byte[SegmentHeader.SizeBytes];
        header.Encode(block);
        var file = _folder.Device.Open(temporary, create: true);
        try
        {
            file.Allocate(header.CapacityBytes);
            file.Write(0, block);
            file.Sync();
        }
        catch (Exception failure)
        {
            file.Dispose();
            if (failure is DiskFullException)
            {
                _folder.Device.Delete(temporary);
            }

            throw;
        }

        try
        {
            _folder.Device.Rename(temporary, path);
            _folder.Sync();
            return file;
        }
        catch (IOException failure)
        {
            // The name may or may not be there: only a restart can tell, even where the reason is a full disk.
            file.Dispose();
            throw new StorageException($"{path} could not be given its name: {failure.Message}", failure);
        }
    }

    /// <summary>
    /// Removes entries. They are gone as soon as the vote file says so (the epoch goes up, the floor comes down): a
    /// start after a crash does not take them. Then later segments go, then the range is zeroed, so that no stale frame
    /// ever follows a new one.
    /// </summary>
    private void Truncate(LogIndex from, LogWrite? write)
    {
        lock (_sideFiles)
        {
            var last = LastIndex;
            ReleaseActive();
            _segments.HideFrom(from);
            _runs.CutFrom(from);
            _durable = from.Previous();
            var kept = _segments.Containing(from);

            // A damaged segment that keeps all of its entries stays as it is, to be replaced.
            var damage = FindDamageBefore(from, kept);
            var isReopened = !(kept is { IsSealed: true, IsDamaged: true } && kept.Last < from);
            _vote.Write((write is null ? _vote.Current : Changed(write)) with
            {
                DurableFloor = _durable,
                TruncationEpoch = checked(_vote.Current.TruncationEpoch + 1),
                CutFrom = from,
                Active = isReopened ? kept.Header.AsActive() : ActiveSegment.NotMadeYet(from),
            });
            if (isReopened && damage is not null)
            {
                // The process ends. The next start finds the segment to be the active one: it cuts it and fences.
                throw damage;
            }

            var removed = _segments.RemoveAfter(kept);
            DeleteSideFiles(kept.IsSealed && isReopened ? [kept, .. removed] : removed);
            DeleteSegments(removed);
            _lastCrc32C = isReopened ? Reopen(kept, from) : kept.SuccessorCrc32C;
            if (from <= last)
            {
                StorageEvents.Truncated(_folder.Logger, _folder.Group, from, last);
            }
        }
    }

    /// <summary>
    /// Whether the entries that a truncation leaves in a segment are all there. Those of a sealed one are read, as at a
    /// start: damage in it would be mended, but nobody mends a segment that is appended to.
    /// </summary>
    private StorageCorruptException? FindDamageBefore(LogIndex from, Segment segment)
    {
        try
        {
            LoadPositions(segment);
        }
        catch (StorageCorruptException damage)
        {
            return damage;
        }

        if (!segment.IsSealed)
        {
            return null;
        }

        if (!_folder.Device.Exists(segment.Path))
        {
            return Damaged(segment, 0, "a file with the entries that a truncation keeps");
        }

        using var file = _folder.Device.Open(segment.Path, create: false);
        var scan = FrameScan.Run(file, segment.Header, _vote.Current);
        return scan.Expected >= LogIndex.Min(from, segment.Last.Next())
            ? null
            : Damaged(segment, scan.Positions.EndOffset, $"entry {scan.Expected}, kept by a truncation from {from}");
    }

    /// <summary>
    /// Wipes the segment from this entry on and appends to it again. Returns the CRC of its last frame. Damage found
    /// here ends the process; the next start finds it too, and cuts and fences.
    /// </summary>
    private uint Reopen(Segment segment, LogIndex from)
    {
        _segments.Reopen(segment, from);
        _activeFile = _segments.Acquire(segment);
        var end = segment.DirtyToOffset;
        for (var offset = segment.TailOffset; offset < end; offset += Zeros.Length)
        {
            _activeFile.Write(offset, Zeros.AsSpan(0, (int)Math.Min(Zeros.Length, end - offset)));
        }

        _activeFile.Sync();
        segment.DirtyToOffset = segment.TailOffset;
        return ReadLastCrc(segment, _activeFile);
    }

    private void DeleteSegments(List<Segment> removed)
    {
        for (var i = removed.Count - 1; i >= 0; i--)
        {
            if (_folder.Device.Exists(removed[i].Path))
            {
                _folder.Device.Delete(removed[i].Path);
            }
        }

        _folder.Sync();
    }

    private void DeleteSideFiles(List<Segment> removed)
    {
        foreach (var segment in removed)
        {
            Indexes.Delete(segment.First);
            var path = PositionsPathOf(segment);
            if (_folder.Device.Exists(path))
            {
                _folder.Device.Delete(path);
            }
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
