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
        .. log.SealedSegments.Where(segment => IsWanted(segment, replica)).Select(segment => new DamagedSegment(
            segment.First,
            new LogPosition(segment.Last, entries.TermAt(segment.Last)),
            Math.Max(segment.SizeBytes, log.SegmentBytes + Limits.EntryBytes),
            segment.IsHollow)),
    ];

    public void ReplaceSegment(LogIndex first, IEnumerable<LogEntry> replacement) =>
        log.ReplaceSegment(first, replacement);

    /// <summary>
    /// Whether it is to be fetched: it is damaged, or hollow where it is to be kept and somebody wants something of it.
    /// </summary>
    public static bool IsWanted(SealedSegment segment, ReplicaGroup replica) => segment.IsDamaged
        || (segment.IsHollow && !replica.MayBeHollow && segment.Last >= replica.Status.Condition.FirstNeeded);
}
