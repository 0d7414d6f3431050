using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// Moves the ends of the log, for its one writer: a snapshot takes the place of all of it, its beginning is dropped,
/// its end is cut off. Each is done as soon as the vote file says so; what becomes superfluous is deleted after that.
/// </summary>
internal sealed class LogBounds(
    GroupFolder folder,
    VoteFile vote,
    SegmentSet segments,
    SealedPositions positions,
    SnapshotFiles snapshots,
    IndexFiles indexes,
    LogTail tail)
{
    /// <summary>
    /// Replaces the whole log by a snapshot. The snapshot is durable first; then the vote file names it as the base,
    /// and from then on nothing else counts; then everything else is deleted. On a full disk nothing is changed: the
    /// failure is returned.
    /// </summary>
    /// <param name="install">What takes the log's place.</param>
    /// <param name="changed">The vote file's record, with all else that is to change in it.</param>
    public DiskFullException? TryInstall(StateSnapshot install, VoteRecord changed)
    {
        Invariant.Check(
            install.Position.Index > vote.Current.Base.Index, "a snapshot that replaces the log leads beyond the base");
        try
        {
            snapshots.Write(install.Position, install.Configuration, install.Data.Span);
        }
        catch (DiskFullException full)
        {
            return full;
        }

        lock (positions.Gate)
        {
            var next = install.Position.Index.Next();
            tail.Release();
            var removed = segments.Reset(next);
            tail.ContinueAfter(install.Position.Index, crc32C: 0);
            vote.Write(changed with
            {
                Base = install.Position,
                BaseCrc32C = 0,
                DurableFloor = install.Position.Index,
                TruncationEpoch = checked(vote.Current.TruncationEpoch + 1),
                CutFrom = next,
                Active = ActiveSegment.NotMadeYet(next),
            });
            DeleteSideFiles(removed);
            SegmentFile.Delete(folder, removed);
            snapshots.DeleteBelow(install.Position.Index);
            snapshots.DeleteAbove(install.Position.Index);
            StorageEvents.Installed(folder.Logger, folder.Group, install.Position);
        }

        return null;
    }

    /// <summary>
    /// Moves the base. The vote file says so first; then the files go. The snapshot at the new base is all that is left
    /// of what is dropped, so it is read before: without it, or when it is damaged, nothing is dropped, and another one
    /// comes with the next seal.
    /// </summary>
    public void DropThrough(LogIndex through)
    {
        if (through <= vote.Current.Base.Index)
        {
            return;
        }

        if (!HasSnapshot(through))
        {
            StorageEvents.NotDropped(folder.Logger, folder.Group, through);
            return;
        }

        lock (positions.Gate)
        {
            var segment = segments.Containing(through);
            if (segment.IsSealed && segment.Last > through)
            {
                // It was made of several, of which one has ended there, since the drop was decided.
                StorageEvents.NotDropped(folder.Logger, folder.Group, through);
                return;
            }

            Invariant.Check(segment.IsSealed && segment.Last == through, "what is dropped ends with a sealed segment");
            vote.Write(vote.Current with
            {
                Base = new LogPosition(through, segments.Terms.TermOf(through)),
                BaseCrc32C = segment.SuccessorCrc32C,
            });
            var removed = segments.DropThrough(through);
            DeleteSideFiles(removed);
            SegmentFile.Delete(folder, removed);
            snapshots.DeleteBelow(through);
            StorageEvents.Dropped(folder.Logger, folder.Group, through, removed.Count);
        }
    }

    /// <summary>
    /// Removes entries. They are gone as soon as the vote file says so (the epoch goes up, the floor comes down): a
    /// start after a crash does not take them. Then later segments go, then the range is zeroed, so that no stale frame
    /// ever follows a new one.
    /// </summary>
    /// <param name="from">The first entry that goes.</param>
    /// <param name="changed">The vote file's record, with all else that is to change in it.</param>
    public void TruncateFrom(LogIndex from, VoteRecord changed)
    {
        lock (positions.Gate)
        {
            var last = segments.Last;
            tail.Release();
            segments.HideFrom(from);
            var kept = segments.Containing(from);

            // A damaged segment that keeps all of its entries stays as it is, to be replaced.
            var damage = FindDamageBefore(from, kept);
            var isReopened = !(kept is { IsSealed: true, IsDamaged: true } && kept.Last < from);
            vote.Write(changed with
            {
                DurableFloor = from.Previous(),
                TruncationEpoch = checked(vote.Current.TruncationEpoch + 1),
                CutFrom = from,
                Active = isReopened ? kept.Header.AsActive() : ActiveSegment.NotMadeYet(from),
            });
            if (isReopened && damage is not null)
            {
                // The process ends. The next start finds the segment to be the active one: it cuts it and fences.
                throw damage;
            }

            var removed = segments.RemoveAfter(kept);
            DeleteSideFiles(kept.IsSealed && isReopened ? [kept, .. removed] : removed);
            SegmentFile.Delete(folder, removed);
            if (isReopened)
            {
                tail.Reopen(kept, from);
            }
            else
            {
                tail.ContinueAfter(from.Previous(), kept.SuccessorCrc32C);
            }

            if (from <= last)
            {
                StorageEvents.Truncated(folder.Logger, folder.Group, from, last);
            }
        }
    }

    private bool HasSnapshot(LogIndex index)
    {
        try
        {
            return snapshots.TryRead(index, out _);
        }
        catch (StorageRefusedException foreign)
        {
            StorageEvents.SnapshotRefused(folder.Logger, foreign, folder.Group, index);
            return false;
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
            positions.Load(segment);
        }
        catch (StorageCorruptException damage)
        {
            return damage;
        }

        if (!segment.IsSealed)
        {
            return null;
        }

        if (!folder.Device.Exists(segment.Path))
        {
            return segments.Damaged(segment, 0, "a file with the entries that a truncation keeps");
        }

        using var file = folder.Device.Open(segment.Path, create: false);
        var scan = FrameScan.Run(file, segment.Header, vote.Current);
        return scan.Expected >= LogIndex.Min(from, segment.Last.Next())
            ? null
            : segments.Damaged(
                segment, scan.Positions.EndOffset, $"entry {scan.Expected}, kept by a truncation from {from}");
    }

    private void DeleteSideFiles(List<Segment> removed)
    {
        foreach (var segment in removed)
        {
            indexes.Delete(segment.First);
            folder.DeleteIfThere(PositionsFile.PathOf(folder, segment.First));
        }
    }
}
