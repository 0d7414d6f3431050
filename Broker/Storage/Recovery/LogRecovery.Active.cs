using Broker.Domain;

namespace Broker.Storage;

/// <summary>The active segment: read frame by frame, because nothing else says where it ends.</summary>
internal sealed partial class LogRecovery
{
    /// <summary>
    /// Takes frames as long as each is intact, follows the one before and continues the chain. Where that ends it
    /// decides: the end of the log, a torn tail (a write that never returned: wiped), or damage (cut and fenced), see
    /// <see cref="IsDamaged"/>.
    /// </summary>
    private void OpenActive()
    {
        var active = Vote.Active;
        if (!active.IsMade)
        {
            return;
        }

        var path = folder.PathOf(GroupFolder.SegmentName(active.First));
        var state = SegmentFile.Inspect(folder, path, out var header);
        if (state == SegmentFileState.Missing)
        {
            StorageEvents.SegmentLost(folder.Logger, folder.Group, path);
            Cut(FindFence(active.First, SegmentHeader.SizeBytes), Vote.Base);
            return;
        }

        var file = folder.Device.Open(path, create: false);
        if (state == SegmentFileState.BadHeader)
        {
            header = HeaderFromVote(file);
        }

        var isOurs = header.Nonce == active.Nonce && _chain.IsContinuedBy(header);
        var scan = isOurs ? FrameScan.Run(file, header, Vote) : new FrameScan();
        var segment = new Segment(path, header, scan.Positions) { File = file };
        if (isOurs && !IsDamaged(scan, segment, out var lastSeen))
        {
            _chain.Take(segment, scan.Terms.Current, scan.Crc32C, scan.Crc32C);
            Mend(segment, state, lastSeen);
            return;
        }

        StorageEvents.SegmentDamaged(
            folder.Logger, folder.Group, path, segment.TailOffset, $"entry {_chain.Next + segment.Count}");
        if (segment.Count > 0)
        {
            _rescued = segment;
        }
        else
        {
            file.Dispose();
        }

        Cut(FindFence(_chain.Next + segment.Count, segment.TailOffset), Vote.Base);
    }

    /// <summary>
    /// The vote file knows enough of the active segment to do without its header. The value that the first frame
    /// continues is one of those that the segment before allows.
    /// </summary>
    private SegmentHeader HeaderFromVote(IStorageFile file)
    {
        var header = HeaderFromVote();
        var bytes = new byte[FrameHeader.SizeBytes];
        try
        {
            var count = file.Read(SegmentHeader.SizeBytes, bytes);
            return FrameHeader.TryDecode(bytes.AsSpan(0, count), header.Seed, out var first, out _)
                ? header with { PreviousCrc32C = _chain.CrcNamedBy(first) }
                : header;
        }
        catch (IOException failure)
        {
            StorageEvents.Unreadable(
                folder.Logger, failure, folder.Group, folder.PathOf(GroupFolder.SegmentName(header.First)));
            return header;
        }
    }

    private SegmentHeader HeaderFromVote() => new(
        folder.Group,
        folder.StoreId,
        Vote.Active.First,
        Vote.Active.Nonce,
        Vote.TruncationEpoch,
        _chain.Crc32C,
        Vote.Active.CapacityBytes);

    /// <summary>
    /// Proofs that an entry behind the last one was durable: the vote file's floor; a later frame, which was written
    /// after the floor in its header was flushed; a file that was cut short, unless nothing was ever written behind the
    /// last entry. What the disk cannot read counts as damage.
    /// </summary>
    private bool IsDamaged(FrameScan scan, Segment segment, out LogPosition lastSeen)
    {
        lastSeen = LogPosition.None;
        if (scan.Expected <= Vote.DurableFloor || scan.IsUnreadable)
        {
            return true;
        }

        var file = segment.File!;
        var tail = TailCheck.Run(file, segment.Header, segment.TailOffset, scan.Expected, Vote);
        lastSeen = tail.Last;
        return tail.ProofOffset is not null || tail.IsUnreadable
            || (file.Length < segment.Header.CapacityBytes && !TailCheck.IsUntouched(file, segment.TailOffset));
    }

    /// <summary>
    /// Wipes a torn tail, gives the file back what it lost without losing an entry, and makes durable what was found: a
    /// killed process leaves its last writes in the page cache only.
    /// </summary>
    private void Mend(Segment segment, SegmentFileState state, LogPosition lastSeen)
    {
        var file = segment.File!;
        if (state != SegmentFileState.Sound)
        {
            StorageEvents.SegmentMended(folder.Logger, folder.Group, segment.Path);
            SegmentFile.WriteHeader(file, segment.Header);
            file.Allocate(segment.Header.CapacityBytes);
        }

        if (TailCheck.Clean(file, segment.TailOffset, segment.Header.CapacityBytes))
        {
            StorageEvents.TornTailCut(folder.Logger, folder.Group, segment.Path, segment.TailOffset, segment.Last);
            var lastTerm = _chain.Terms.Current.Count == 0 ? Vote.Base.Term : _chain.Terms.Current[^1].Term;
            var next = new LogPosition(segment.Last.Next(), lastTerm);
            _doubt = lastSeen > next ? lastSeen : next;
        }

        file.Sync();
    }

    /// <summary>
    /// The highest entry that may have been durable here: at least the vote file's floor, and what intact frames behind
    /// the damage say. Where a file is gone, or cut short, the number of its frames can only be bounded.
    /// </summary>
    /// <param name="expected">The first entry of the active segment that is missing.</param>
    /// <param name="from">Where its frame should begin.</param>
    private LogPosition FindFence(LogIndex expected, long from)
    {
        var active = Vote.Active;
        var floor = new LogPosition(
            LogIndex.Max(Vote.DurableFloor, active.First.Previous()), Vote.HardState.Term);
        if (!active.IsMade)
        {
            return floor;
        }

        var path = folder.PathOf(GroupFolder.SegmentName(active.First));
        var state = SegmentFile.Inspect(folder, path, out var header);
        if (state != SegmentFileState.Missing && (state == SegmentFileState.BadHeader || header.Nonce == active.Nonce))
        {
            using var file = folder.Device.Open(path, create: false);
            var tail = TailCheck.Run(file, HeaderFromVote(), from, expected, Vote);
            if (file.Length >= active.CapacityBytes && !tail.IsUnreadable)
            {
                return tail.Last.Index >= floor.Index ? tail.Last : floor;
            }
        }

        var frames = (active.CapacityBytes - from) / FrameHeader.SizeBytes;
        return floor with { Index = LogIndex.Max(floor.Index, expected.Previous() + frames) };
    }
}
