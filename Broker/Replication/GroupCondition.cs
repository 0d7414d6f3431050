using Broker.Consensus;
using Broker.Domain;

namespace Broker.Replication;

/// <summary>How well a replica is, and what it keeps; immutable.</summary>
/// <param name="BaseIndex">The log begins after this entry.</param>
/// <param name="SnapshotIndex">The newest snapshot on disk; 0: none.</param>
/// <param name="Configuration">The members, by the newest configuration in this replica's log.</param>
/// <param name="IsFenced">The end of its log was damaged: it may not lead until it has everything again.</param>
/// <param name="IsLost">It has lost its log or its votes, and waits to be made a member anew.</param>
/// <param name="IsPassive">It neither votes nor leads until it has caught up as a new member.</param>
/// <param name="IsApplyBlocked">An entry that is to be applied cannot be read.</param>
/// <param name="IsDiskFull">The log waits for space.</param>
/// <param name="IsWriteStalled">A write of the log takes longer than a leader may be silent.</param>
/// <param name="IsBackgroundStalled">For long nothing beside the log was read or written that is to be.</param>
/// <param name="IsBehind">It has stood still for long behind what its leader has committed.</param>
/// <param name="IsStuck">It leads and refuses publishes, as too few nodes can write.</param>
/// <param name="DamagedSegments">Segments that wait for repair from a peer.</param>
/// <param name="DamagedIndexes">Index files of segments that are being made anew.</param>
/// <param name="Fence">What its log may have had before it lost its end; none: it lost nothing.</param>
/// <param name="HollowSegments">Segments of which what the entries say is not kept here; of a replica that is to keep
/// it, those that are on their way back.</param>
/// <param name="FirstNeeded">Where there are hollow segments: those that end before it nobody wants any more.</param>
/// <param name="IsSuperseded">Its group has gone on without what it has, by an operator's word.</param>
public sealed record GroupCondition(
    LogIndex BaseIndex,
    LogIndex SnapshotIndex,
    GroupConfiguration Configuration,
    bool IsFenced,
    bool IsLost,
    bool IsPassive,
    bool IsApplyBlocked,
    bool IsDiskFull,
    bool IsWriteStalled,
    bool IsBackgroundStalled,
    bool IsBehind,
    bool IsStuck,
    int DamagedSegments,
    int DamagedIndexes,
    LogPosition Fence = default,
    int HollowSegments = 0,
    LogIndex FirstNeeded = default,
    bool IsSuperseded = false)
{
    /// <summary>Nothing is wrong with this replica.</summary>
    public bool IsWell => !(IsFenced || IsLost || IsPassive || IsApplyBlocked || IsDiskFull || IsWriteStalled
            || IsBackgroundStalled || IsBehind || IsStuck || IsSuperseded)
        && DamagedSegments + DamagedIndexes == 0;

    /// <summary>Writes to the log what has changed.</summary>
    internal void Tell(GroupCondition before, GroupId group, RaftNode raft, LogIndex applied, ILogger logger)
    {
        if (IsSuperseded && !before.IsSuperseded)
        {
            ReplicationEvents.Superseded(logger, group.Value);
        }

        if (IsBehind && !before.IsBehind)
        {
            ReplicationEvents.Behind(logger, group.Value, raft.CommitIndex.Value, raft.LeaderCommitIndex.Value);
        }

        if (IsApplyBlocked && !before.IsApplyBlocked)
        {
            ReplicationEvents.ApplyBlocked(logger, group.Value, applied.Next().Value);
        }

        if (before.DamagedSegments != DamagedSegments || before.IsFenced != IsFenced
            || before.IsLost != IsLost || before.IsPassive != IsPassive)
        {
            ReplicationEvents.ConditionChanged(
                logger, group.Value, IsFenced, IsLost, IsPassive, DamagedSegments);
        }

        if (!before.Configuration.Equals(Configuration))
        {
            ReplicationEvents.Members(logger, group.Value, $"{Configuration}");
        }
    }
}
