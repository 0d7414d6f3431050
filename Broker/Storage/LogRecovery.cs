using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// Opens a group's folder after a stop or crash of any kind. It takes frames as long as each is intact, follows the one
/// before and continues the chain. Where that ends it decides: the end of the log, a torn tail (a write that never
/// returned: cut), or damage (refused). Damage is whatever contradicts a proof that the missing entry was durable, see
/// <see cref="CheckProofs"/>.
/// </summary>
internal sealed class LogRecovery(
    IStorageDevice device, string folder, GroupId group, Guid storeId, StorageOptions options, ILogger logger)
{
    private readonly TermRuns _runs = new();
    private readonly List<Segment> _accepted = [];
    private LogIndex _expected = new(1);
    private uint _chain;

    public RecoveredLog Run()
    {
        device.CreateFolder(folder);
        var names = device.List(folder);
        var paths = names.Where(static name => GroupFolder.TryParseSegment(name, out _)).Select(PathOf).ToList();
        var vote = OpenVote(names.Contains(GroupFolder.VoteName), paths);
        try
        {
            // Names that a killed process left unflushed are about to be relied upon.
            DeleteTemporaries();
            device.SyncFolder(folder);
            var next = ScanSegments(paths);
            CheckProofs(vote.Current, paths, next);
            DeleteLeftovers(paths, next);
            Finish(vote);
            var segments = new SegmentSet(device, options.OpenSealedSegments);
            _accepted.ForEach(segments.Add);
            segments.Publish(_expected.Previous());
            return new RecoveredLog(group, storeId, vote, segments, _runs, _chain);
        }
        catch
        {
            _accepted.ForEach(static segment => segment.File?.Dispose());
            vote.Dispose();
            throw;
        }
    }

    private string PathOf(string name) => Path.Combine(folder, name);

    private VoteFile OpenVote(bool exists, List<string> segmentPaths)
    {
        if (exists)
        {
            return VoteFile.Open(device, folder, group, storeId);
        }

        // The vote file comes before the first segment, and is never deleted.
        if (segmentPaths.Count > 0)
        {
            throw new StorageCorruptException(
                PathOf(GroupFolder.VoteName), 0, "a vote file, because the group has a log");
        }

        DeleteTemporaries();
        return VoteFile.Create(device, folder, group, storeId);
    }

    private void DeleteTemporaries()
    {
        foreach (var name in device.List(folder))
        {
            if (name.EndsWith(GroupFolder.TemporarySuffix, StringComparison.Ordinal))
            {
                device.Delete(PathOf(name));
            }
        }
    }

    /// <summary>Takes segments while they follow each other; returns the number of paths taken.</summary>
    private int ScanSegments(List<string> paths)
    {
        for (var i = 0; i < paths.Count; i++)
        {
            var file = device.Open(paths[i], create: false);
            var segment = ReadHeader(paths[i], file);
            if (segment is null || segment.First != _expected || segment.Header.PreviousCrc32C != _chain)
            {
                file.Dispose();
                return i;
            }

            _accepted.Add(segment);
            segment.File = file;
            ScanFrames(segment, file);
            var continues = i + 1 < paths.Count && paths[i + 1] == PathOf(GroupFolder.SegmentName(_expected));
            if (!continues)
            {
                return i + 1;
            }

            file.Dispose();
            segment.File = null;
        }

        return paths.Count;
    }

    private Segment ReadHeader(string path, IStorageFile file)
    {
        try
        {
            var block = new byte[SegmentHeader.SizeBytes];
            var header = SegmentHeader.Decode(block.AsSpan(0, file.Read(0, block)), path);
            GroupFolder.CheckOwner(path, group, storeId, header.Group, header.StoreId);
            if (PathOf(GroupFolder.SegmentName(header.First)) != path)
            {
                throw new StorageCorruptException(
                    path, 0, $"the name {GroupFolder.SegmentName(header.First)} that the header says");
            }

            if (file.Length < header.CapacityBytes)
            {
                throw new StorageCorruptException(path, file.Length, $"a length of {header.CapacityBytes:N0} bytes");
            }

            return new Segment(path, header);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private void ScanFrames(Segment segment, IStorageFile file)
    {
        var window = new FileWindow(file, segment.Header.CapacityBytes);
        while (true)
        {
            var offset = segment.TailOffset;
            var bytes = window.Get(offset, FrameHeader.SizeBytes);
            if (!FrameHeader.TryDecode(bytes, segment.Seed, out var header, out var crc)
                || header.Index != _expected
                || header.PreviousCrc32C != _chain)
            {
                return;
            }

            var body = window.Get(offset + FrameHeader.SizeBytes, header.BodyBytes);
            if (body.Length < header.BodyBytes || Crc32C.Compute(body) != header.BodyCrc32C)
            {
                return;
            }

            segment.Add(new FramePosition(offset, header.BodyBytes));
            _runs.Append(header.Index, header.Term);
            _chain = crc;
            _expected = _expected.Next();
        }
    }

    /// <summary>
    /// Proofs that an entry at or after the expected one was durable: the vote file's floor; the vote file's active
    /// segment; a later segment (the one before it is flushed first); a later frame, which was written after the floor
    /// in its header was flushed. Proofs of an older truncation epoch are void: what they prove was removed on purpose,
    /// or is covered by the vote file's floor.
    /// </summary>
    private void CheckProofs(VoteRecord vote, List<string> paths, int next)
    {
        var segment = _accepted.Count == 0 ? null : _accepted[^1];
        var path = segment?.Path ?? PathOf(GroupFolder.SegmentName(_expected));
        var offset = segment?.TailOffset ?? 0;
        if (_expected <= vote.DurableFloor)
        {
            throw new StorageCorruptException(
                path,
                offset,
                $"entry {_expected}; the vote file says that entries up to {vote.DurableFloor} are durable");
        }

        if (vote.ActiveSegment > (segment?.First ?? LogIndex.None))
        {
            throw new StorageCorruptException(
                PathOf(GroupFolder.SegmentName(vote.ActiveSegment)), 0, "this file, which the vote file says exists");
        }

        foreach (var later in paths.Skip(next))
        {
            using var file = device.Open(later, create: false);
            var header = ReadHeader(later, file).Header;
            if (header.TruncationEpoch == vote.TruncationEpoch || header.First < _expected)
            {
                throw new StorageCorruptException(
                    path, offset, $"entry {_expected}; the existence of {later} proves that it was durable");
            }
        }

        if (segment is not null && TailCheck.FindProof(segment, _expected, vote.TruncationEpoch) is { } proof)
        {
            throw new StorageCorruptException(
                path, offset, $"entry {_expected}; the frame at byte {proof:N0} proves that it was durable");
        }
    }

    private void DeleteLeftovers(List<string> paths, int next)
    {
        for (var i = paths.Count - 1; i >= next; i--)
        {
            device.Delete(paths[i]);
            StorageLog.LeftoverDeleted(logger, group, paths[i]);
        }

        if (next < paths.Count)
        {
            device.SyncFolder(folder);
        }
    }

    /// <summary>
    /// Cuts a torn tail and makes durable what was found: a killed process leaves its last writes in the page cache
    /// only.
    /// </summary>
    private void Finish(VoteFile vote)
    {
        var last = _expected.Previous();
        var active = LogIndex.None;
        if (_accepted.Count > 0)
        {
            var segment = _accepted[^1];
            active = segment.First;
            if (TailCheck.Clean(segment))
            {
                StorageLog.TornTailCut(logger, group, segment.Path, segment.TailOffset, last);
            }

            segment.File!.Sync();
        }

        if (vote.NeedsRepair)
        {
            StorageLog.VoteSlotMended(logger, group);
        }

        if (vote.NeedsRepair || vote.Current.DurableFloor != last || vote.Current.ActiveSegment != active)
        {
            vote.Write(vote.Current with { DurableFloor = last, ActiveSegment = active });
        }
    }
}
