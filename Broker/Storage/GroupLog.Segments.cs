using Broker.Domain;

namespace Broker.Storage;

public sealed partial class GroupLog
{
    private const string NextSegmentName = "segment" + GroupFolder.TemporarySuffix;

    /// <summary>
    /// Begins a new segment. The old one is flushed before, and the new one gets its name only when its header and
    /// length are durable: a segment that exists proves that everything before it was durable, and recovery holds
    /// damage against that proof.
    /// </summary>
    private void Roll(LogIndex first, int frameBytes)
    {
        if (_activeFile is not null)
        {
            _activeFile.Sync();
            _durable = first.Previous();
        }

        var grown = _options.FirstSegmentBytes << Math.Min(_segments.Count, 30);
        var header = new SegmentHeader(
            _group,
            _storeId,
            first,
            _options.NewNonce(),
            _vote.Current.TruncationEpoch,
            _lastCrc32C,
            Math.Max(Math.Min(grown, _options.SegmentBytes), SegmentHeader.SizeBytes + frameBytes));
        var path = Path.Combine(_folder, GroupFolder.SegmentName(first));
        var file = CreateSegmentFile(path, header);
        ReleaseActive();
        _segments.Add(new Segment(path, header) { File = file, Users = 1 });
        _activeFile = file;
        _vote.Write(_vote.Current with { DurableFloor = first.Previous(), ActiveSegment = first });
        ClearStaged();
        StorageLog.SegmentCreated(_logger, _group, path, header.CapacityBytes);
    }

    private IStorageFile CreateSegmentFile(string path, in SegmentHeader header)
    {
        var temporary = Path.Combine(_folder, NextSegmentName);
        if (_device.Exists(temporary))
        {
            _device.Delete(temporary);
        }

        var block = new byte[SegmentHeader.SizeBytes];
        header.Encode(block);
        var file = _device.Open(temporary, create: true);
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
                _device.Delete(temporary);
            }

            throw;
        }

        try
        {
            _device.Rename(temporary, path);
            _device.SyncFolder(_folder);
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
    /// Removes entries. First the vote file says so (the floor comes down, the epoch goes up); from then on recovery
    /// cuts what it does not find, instead of calling it damage. Then later segments go, then the range is zeroed, so
    /// that no stale frame ever follows a new one.
    /// </summary>
    private void Truncate(LogIndex from, HardState hardState)
    {
        var last = LastIndex;
        ReleaseActive();
        var kept = _segments.Containing(from);
        var end = kept.DirtyToOffset;
        var removed = _segments.CutFrom(from);
        _runs.CutFrom(from);
        _durable = from.Previous();
        _vote.Write(_vote.Current with
        {
            HardState = hardState,
            DurableFloor = _durable,
            TruncationEpoch = checked(_vote.Current.TruncationEpoch + 1),
            ActiveSegment = kept.First,
        });

        for (var i = removed.Count - 1; i >= 0; i--)
        {
            _device.Delete(removed[i].Path);
        }

        if (removed.Count > 0)
        {
            _device.SyncFolder(_folder);
        }

        _activeFile = _segments.Acquire(kept);
        for (var offset = kept.TailOffset; offset < end; offset += Zeros.Length)
        {
            _activeFile.Write(offset, Zeros.AsSpan(0, (int)Math.Min(Zeros.Length, end - offset)));
        }

        _activeFile.Sync();
        kept.DirtyToOffset = kept.TailOffset;
        _lastCrc32C = ReadLastCrc(kept, _activeFile);
        if (from <= last)
        {
            StorageLog.Truncated(_logger, _group, from, last);
        }
    }

    private static uint ReadLastCrc(Segment segment, IStorageFile file)
    {
        if (segment.Count == 0)
        {
            return segment.Header.PreviousCrc32C;
        }

        var offset = segment[segment.Count - 1].Offset;
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
