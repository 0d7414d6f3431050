using Broker.Domain;

namespace Broker.Storage;

/// <summary>What recovery found; everything in it is durable.</summary>
/// <param name="Group">The group.</param>
/// <param name="StoreId">The disk.</param>
/// <param name="Vote">The vote file.</param>
/// <param name="Segments">The log's segments.</param>
/// <param name="Runs">The terms of the log's entries.</param>
/// <param name="LastCrc32C">What the next frame names as the one before it.</param>
/// <param name="Rescued">The intact beginning of a segment that is in quarantine now, with its file open: these entries
/// follow the log, and are to be appended anew.</param>
/// <param name="Doubt">What a torn tail held; none when there was none. See <see cref="GroupLog.Doubt"/>.</param>
internal sealed record RecoveredLog(
    GroupId Group,
    Guid StoreId,
    VoteFile Vote,
    SegmentSet Segments,
    TermRuns Runs,
    uint LastCrc32C,
    Segment? Rescued,
    LogPosition Doubt);
