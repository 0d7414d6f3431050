using Broker.Domain;

namespace Broker.Storage;

/// <summary>Where the log begins: after a snapshot that took its place, or after what nobody needs any more.</summary>
public sealed partial class GroupLog
{
    /// <summary>
    /// Replaces the whole log by a snapshot. The snapshot is durable first; then the vote file names it as the base,
    /// and from then on nothing else counts; then everything else is deleted. On a full disk the log stays as it is,
    /// and the hard state is kept.
    /// </summary>
    private DiskFullException? TryInstall(SnapshotInstall install, LogWrite write)
    {
        Invariant.Check(
            install.Position.Index > Base.Index, "a snapshot that replaces the log leads beyond the base");
        try
        {
            Snapshots.Write(install.Position, install.Configuration, install.Data.Span);
        }
        catch (DiskFullException full)
        {
            if (write.HardState is { } hardState && hardState != HardState)
            {
                _vote.Write(_vote.Current with { HardState = hardState });
            }

            return full;
        }

        lock (_sideFiles)
        {
            var next = install.Position.Index.Next();
            ReleaseActive();
            var removed = _segments.Reset(next);
            _runs.Clear();
            _durable = install.Position.Index;
            _lastCrc32C = 0;
            _vote.Write(Changed(write) with
            {
                Base = install.Position,
                BaseCrc32C = 0,
                DurableFloor = install.Position.Index,
                TruncationEpoch = checked(_vote.Current.TruncationEpoch + 1),
                CutFrom = next,
                Active = ActiveSegment.NotMadeYet(next),
                Configuration = write.Configuration ?? install.Configuration,
                PreviousConfiguration = write.PreviousConfiguration,
            });
            DeleteSideFiles(removed);
            DeleteSegments(removed);
            Snapshots.DeleteBelow(install.Position.Index);
            Snapshots.DeleteAbove(install.Position.Index);
            StorageEvents.Installed(_folder.Logger, _folder.Group, install.Position);
        }

        return null;
    }

    /// <summary>
    /// Moves the base. The vote file says so first; then the files go. The snapshot at the new base is all that is left
    /// of what is dropped, so it is read before: without it, or when it is damaged, nothing is dropped, and another one
    /// comes with the next seal.
    /// </summary>
    private void Drop(LogIndex through)
    {
        if (through <= Base.Index)
        {
            return;
        }

        if (!HasSnapshot(through))
        {
            StorageEvents.NotDropped(_folder.Logger, _folder.Group, through);
            return;
        }

        lock (_sideFiles)
        {
            var segment = _segments.Containing(through);
            Invariant.Check(segment.IsSealed && segment.Last == through, "what is dropped ends with a sealed segment");
            _vote.Write(_vote.Current with
            {
                Base = new LogPosition(through, _runs.TermOf(through)),
                BaseCrc32C = segment.SuccessorCrc32C,
            });
            var removed = _segments.DropThrough(through);
            _runs.DropThrough(through, LastIndex);
            DeleteSideFiles(removed);
            DeleteSegments(removed);
            Snapshots.DeleteBelow(through);
            StorageEvents.Dropped(_folder.Logger, _folder.Group, through, removed.Count);
        }
    }

    private bool HasSnapshot(LogIndex index)
    {
        try
        {
            return Snapshots.TryRead(index, out _);
        }
        catch (StorageRefusedException foreign)
        {
            StorageEvents.SnapshotRefused(_folder.Logger, foreign, _folder.Group, index);
            return false;
        }
    }
}
