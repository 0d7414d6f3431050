using Broker.Domain;
using Broker.Storage;

namespace Broker.Cluster;

/// <summary>A group's log as <see cref="SegmentRepair"/> sees it.</summary>
internal sealed class GroupRepair(GroupId group, GroupLog log, GroupEntries entries) : IRepairable
{
    public GroupId Group => group;

    public IReadOnlyList<DamagedSegment> DamagedSegments =>
    [
        .. log.SealedSegments.Where(static segment => segment.IsDamaged).Select(segment => new DamagedSegment(
            segment.First,
            new LogPosition(segment.Last, entries.TermAt(segment.Last)),
            Math.Max(segment.SizeBytes, log.SegmentBytes + Limits.EntryBytes))),
    ];

    public void ReplaceSegment(LogIndex first, IEnumerable<LogEntry> replacement) =>
        log.ReplaceSegment(first, replacement);
}
