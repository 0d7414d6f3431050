using Broker.Domain;
using Broker.Replication;
using Broker.Storage;

namespace Broker.Cluster;

/// <summary>A group's log as <see cref="SegmentRepair"/> sees it.</summary>
internal sealed class GroupRepair(ReplicaGroup replica, GroupLog log, GroupEntries entries) : IRepairable
{
    public GroupId Group => replica.Id;

    public IReadOnlyList<DamagedSegment> DamagedSegments =>
    [
        .. log.SealedSegments.Where(IsWanted).Select(segment => new DamagedSegment(
            segment.First,
            new LogPosition(segment.Last, entries.TermAt(segment.Last)),
            Math.Max(segment.SizeBytes, log.SegmentBytes + Limits.EntryBytes),
            segment.IsHollow)),
    ];

    /// <summary>What is hollow comes back where it is to be kept, as far as anybody wants it.</summary>
    private bool IsWanted(SealedSegment segment)
    {
        var status = replica.Status;
        return segment.IsDamaged
            || (segment.IsHollow && !replica.MayBeHollow && segment.Last >= status.Condition.FirstNeeded);
    }

    public void ReplaceSegment(LogIndex first, IEnumerable<LogEntry> replacement) =>
        log.ReplaceSegment(first, replacement);
}
