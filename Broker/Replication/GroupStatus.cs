using Broker.Consensus;
using Broker.Domain;

namespace Broker.Replication;

/// <summary>A group as its loop last saw it; immutable, so any thread may look.</summary>
public sealed record GroupStatus(
    GroupId Group,
    RaftRole Role,
    Term Term,
    NodeId Leader,
    LogIndex CommitIndex,
    LogIndex AppliedIndex,
    LogIndex LastIndex,
    GroupCondition Condition,
    Term LastTerm = default);
