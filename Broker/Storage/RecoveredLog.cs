using Broker.Domain;

namespace Broker.Storage;

/// <summary>What recovery found; everything in it is durable.</summary>
internal sealed record RecoveredLog(
    GroupId Group, Guid StoreId, VoteFile Vote, SegmentSet Segments, TermRuns Runs, uint LastCrc32C);
