using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// Opens a group's folder after a stop or crash of any kind, and after damage of any kind. The vote file says where the
/// log begins and which segment is appended to. The sealed ones before it are whole, or damaged: one that its positions
/// file describes stays in the log until it is replaced. The active one is read frame by frame, see <see
/// cref="OpenActive"/>. Where the log cannot go on, it is cut before the damage; the damaged file and all later ones go
/// into quarantine, and a fence says what is missing.
/// </summary>
internal sealed partial class LogRecovery(
    GroupFolder folder, StorageOptions options, SnapshotFiles snapshots, bool isKnown)
{
    private readonly Leftovers _leftovers = new(folder);
    private readonly SegmentChain _chain = new();
    private VoteFile? _voteFile;
    private Segment? _rescued;
    private LogPosition _doubt;

    private VoteRecord Vote => _voteFile!.Current;

    public RecoveredLog Run()
    {
        folder.Device.CreateFolder(folder.FullPath);
        _voteFile = OpenVote();
        try
        {
            // Names that a killed process left unflushed are about to be relied upon.
            _leftovers.DeleteTemporaries();
            folder.Sync();
            _leftovers.PutAway(Vote);
            _chain.BeginAfter(Vote.Base.Index, Vote.BaseCrc32C);
            if (!HasState(upTo: new LogIndex(long.MaxValue)))
            {
                StartOver(FindFence(Vote.Active.First, SegmentHeader.SizeBytes));
            }
            else if (TryOpenSealed())
            {
                OpenActive();
            }

            Finish();
            var segments = new SegmentSet(folder, options, Vote.Base.Index.Next(), _chain.Segments, _chain.Terms);
            segments.Publish(_chain.Next.Previous());
            var rescued = _rescued is null ? null : new RescuedEntries(_rescued);
            return new RecoveredLog(_voteFile, segments, _chain.Crc32C, rescued, _doubt);
        }
        catch
        {
            _chain.CloseFiles();
            _rescued?.File?.Dispose();
            _voteFile.Dispose();
            throw;
        }
    }

    /// <summary>
    /// The vote file comes before everything else and is never deleted. A group that has anything, or is known to have
    /// been here, has lost it: what it promised is not known any more.
    /// </summary>
    private VoteFile OpenVote()
    {
        if (VoteFile.TryOpen(folder) is { } vote)
        {
            if (vote.Current.HasGivenUpLog)
            {
                // Its group has gone on without what it has. What is left is set aside, as after damage.
                StorageEvents.LogGivenUp(folder.Logger, folder.Group, folder.FullPath);
                vote.Write(VoteRecord.Lost with { HardState = vote.Current.HardState });
            }

            return vote;
        }

        var names = folder.List();
        var hadLife = names.Any(static name => !name.EndsWith(GroupFolder.TemporarySuffix, StringComparison.Ordinal));
        _leftovers.DeleteTemporaries();
        if (!hadLife && !isKnown)
        {
            return VoteFile.Create(folder, VoteRecord.Initial);
        }

        if (names.Contains(GroupFolder.VoteName))
        {
            new Quarantine(folder).TakeCopy(GroupFolder.VoteName, VoteFile.FileBytes);
        }

        StorageEvents.VoteLost(folder.Logger, folder.Group, folder.FullPath);
        return VoteFile.Create(folder, VoteRecord.Lost);
    }

    /// <summary>
    /// A log that begins after a base needs the state there: the snapshot at the base, or a later one within the log.
    /// </summary>
    private bool HasState(LogIndex upTo) =>
        Vote.Base.Index == LogIndex.None
        || snapshots.List().Reverse().Any(index => index <= upTo && snapshots.TryRead(index, out _));

    /// <summary>Nothing that is left begins with a known state: all of it is set aside, and fetched again.</summary>
    private void StartOver(LogPosition fence)
    {
        StorageEvents.BaseLost(folder.Logger, folder.Group, Vote.Base.Index);
        _chain.BeginAfter(LogIndex.None, 0);
        Cut(fence, LogPosition.None);
    }

    /// <summary>
    /// The log ends before what is expected next: makes that durable together with the fence, then moves the rest away.
    /// </summary>
    private void Cut(LogPosition fence, LogPosition newBase)
    {
        if (Vote.Fence > fence)
        {
            fence = Vote.Fence;
        }

        StorageEvents.Fenced(folder.Logger, folder.Group, _chain.Next.Previous(), fence);
        _voteFile!.Write(Vote with
        {
            Base = newBase,
            BaseCrc32C = newBase == Vote.Base ? Vote.BaseCrc32C : 0,
            DurableFloor = _chain.Next.Previous(),
            TruncationEpoch = checked(Vote.TruncationEpoch + 1),
            CutFrom = _chain.Next,
            Active = ActiveSegment.NotMadeYet(_chain.Next),
            Fence = fence,
            SetsAside = true,
        });
        _leftovers.PutAway(Vote);
    }

    private void Finish()
    {
        foreach (var segment in _chain.Segments)
        {
            if (segment is { IsSealed: true, Positions: not null })
            {
                WritePositions(segment);
            }
        }

        if (_voteFile!.NeedsRepair)
        {
            StorageEvents.VoteSlotMended(folder.Logger, folder.Group);
        }

        // A configuration whose entry was lost must be forgotten now: another entry will come to its index.
        var last = _chain.Next.Previous();
        var known = Vote.ConfiguredBy(last + (_rescued?.Count ?? 0)) with { DurableFloor = last, SetsAside = false };
        if (_voteFile.NeedsRepair || known != Vote)
        {
            _voteFile.Write(known);
        }
    }
}

/// <summary>What recovery found; everything in it is durable.</summary>
/// <param name="Vote">The vote file.</param>
/// <param name="Segments">The log's segments.</param>
/// <param name="LastCrc32C">What the next frame names as the one before it.</param>
/// <param name="Rescued">What is to be appended anew before anything else; null: nothing.</param>
/// <param name="Doubt">What a torn tail held; none when there was none. See <see cref="GroupLog.Doubt"/>.</param>
internal sealed record RecoveredLog(
    VoteFile Vote, SegmentSet Segments, uint LastCrc32C, RescuedEntries? Rescued, LogPosition Doubt);
