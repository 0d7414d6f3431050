namespace Broker.Diagnostics;

/// <summary>
/// One group's state at a moment, for the metrics. Leader is 0 when unknown; Role as Consensus numbers it.
/// </summary>
public readonly record struct GroupFigures(
    int Group,
    long Term,
    int Leader,
    int Role,
    long CommitIndex,
    long AppliedIndex,
    long LastIndex,
    long BaseIndex = 0,
    long SnapshotIndex = 0,
    int DamagedSegments = 0,
    bool IsFenced = false,
    bool IsLost = false,
    bool IsDiskFull = false,
    bool IsDiskStalled = false,
    bool IsApplyBlocked = false,
    bool IsBehind = false,
    bool IsStuck = false,
    bool HasLostQuorum = false,
    int HollowSegments = 0);
