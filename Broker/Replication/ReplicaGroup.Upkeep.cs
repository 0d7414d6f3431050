using Broker.Consensus;
using Broker.Domain;

namespace Broker.Replication;

/// <summary>What a group looks after now and then, beside its work: once a second is soon enough.</summary>
public sealed partial class ReplicaGroup
{
    private const long UpkeepMs = 1_000;

    private long _upkeepDueMs;
    private long? _hamperedSinceMs;

    /// <summary>A follower needs the snapshot at the base, and this replica cannot read it.</summary>
    private bool _isBaseUnreadable;

    private bool _conditionIsStale;
    private bool _isBehind;

    /// <summary>What was known to be committed when that last grew, or was all that the leader had committed.</summary>
    private LogIndex _committedThrough;

    private long _progressMs;
    private GroupCondition _condition;

    private void LookAfter()
    {
        var now = NowMs();
        if (now < _upkeepDueMs)
        {
            return;
        }

        // All groups of a node at once: it wakes once for all of them.
        _upkeepDueMs = ((now / UpkeepMs) + 1) * UpkeepMs;
        ConsiderDrop();
        ConsiderIndexRepair(now);
        ConsiderAskingForSnapshot(now);
        ApproachDesiredVoters();
        ConsiderHandingOver(now);
        LookWhetherStuck(now);
        LookAfterBackground(now);
        LookAtProgress(now);
        HandleReady(NoEntries);
        _conditionIsStale = true;
    }

    /// <summary>
    /// A leader that cannot apply, or cannot help a follower, holds the whole group up: another replica that is well
    /// leads better. It is tried again while the trouble lasts. When what even the heir lacks
    /// cannot be read, it has not committed, and nobody but this leader has it: the group goes on without it.
    /// </summary>
    private void ConsiderHandingOver(long now)
    {
        if (_raft.Role != RaftRole.Leader)
        {
            _hamperedSinceMs = null;
            _isBaseUnreadable = false;
            _lanes.ForEach(static lane => lane.UnreadableBehind = null);
            return;
        }

        var followers = _raft.Followers;
        if (!(IsApplyBlocked || _isBaseUnreadable || followers.Any(LacksUnreadable)))
        {
            _hamperedSinceMs = null;
            return;
        }

        _hamperedSinceMs ??= now;
        if (now - _hamperedSinceMs < Limits.HandOverAfterMs)
        {
            return;
        }

        var heir = NodeId.None;
        var match = _raft.CommitIndex.Previous();
        var catchesUp = true;
        foreach (var follower in followers)
        {
            if (IsFit(follower) && follower.MatchIndex > match)
            {
                (heir, match, catchesUp) = (follower.NodeId, follower.MatchIndex, !LacksUnreadable(follower));
            }
        }

        if (!heir.IsNone && _raft.TryTransferLeadership(heir, catchesUp))
        {
            _hamperedSinceMs = now;
            ReplicationEvents.HandingOver(_logger, Id.Value, heir.Value, "a part of its log cannot be read");
        }
    }

    /// <summary>It waits for entries that this leader could not read when it last tried.</summary>
    private bool LacksUnreadable(FollowerProgress follower)
    {
        foreach (var lane in _lanes)
        {
            if (lane.To == follower.NodeId)
            {
                return IsFit(follower) && follower.MatchIndex <= lane.UnreadableBehind;
            }
        }

        return false;
    }

    private static bool IsFit(FollowerProgress follower) =>
        follower is { RecentlyActive: true, IsLearner: false, IsLost: false, IsHampered: false };

    /// <summary>
    /// Hands leadership to a node when it can write and apply, and has the log up to about where the others are: a node
    /// that is not up to it would only stop publishes until the attempt is given up.
    /// </summary>
    private void TransferWhenFit(NodeId to)
    {
        foreach (var follower in _raft.Followers)
        {
            if (follower.NodeId == to && IsFit(follower)
                && follower.MatchIndex + Limits.TransferLagEntries >= _raft.CommitIndex)
            {
                _raft.TryTransferLeadership(to);
                return;
            }
        }
    }

    /// <summary>Whether it has stood still for long behind what its leader has committed.</summary>
    private void LookAtProgress(long now)
    {
        if (_raft.CommitIndex > _committedThrough || _raft.CommitIndex >= _raft.LeaderCommitIndex)
        {
            _committedThrough = _raft.CommitIndex;
            _progressMs = now;
        }

        _isBehind = now - _progressMs >= Limits.BehindAfterMs;
    }

    private GroupCondition LookAtCondition()
    {
        var damaged = 0;
        foreach (var segment in _log.SealedSegments)
        {
            damaged += segment.IsDamaged ? 1 : 0;
        }

        return new GroupCondition(
            _raft.BaseIndex,
            _snapshots.Count == 0 ? LogIndex.None : _snapshots[^1],
            _raft.Configuration,
            _raft.IsFenced,
            _log.HardState.IsLost,
            _raft.IsPassive,
            IsApplyBlocked,
            _isDiskFull,
            _isWriteStalled,
            _isBackgroundStalled,
            _isBehind,
            _isStuck,
            damaged,
            CountDamagedIndexes());
    }

    private void RefreshCondition()
    {
        if (!_conditionIsStale)
        {
            return;
        }

        _conditionIsStale = false;
        var before = _condition;
        var now = LookAtCondition();
        if (now == before)
        {
            return;
        }

        _condition = now;
        if (now.IsBehind && !before.IsBehind)
        {
            ReplicationEvents.Behind(_logger, Id.Value, _raft.CommitIndex.Value, _raft.LeaderCommitIndex.Value);
        }

        if (now.IsApplyBlocked && !before.IsApplyBlocked)
        {
            ReplicationEvents.ApplyBlocked(_logger, Id.Value, _applied.Next().Value);
        }

        if (before.DamagedSegments != _condition.DamagedSegments || before.IsFenced != _condition.IsFenced
            || before.IsLost != _condition.IsLost || before.IsPassive != _condition.IsPassive)
        {
            ReplicationEvents.ConditionChanged(
                _logger,
                Id.Value,
                _condition.IsFenced,
                _condition.IsLost,
                _condition.IsPassive,
                _condition.DamagedSegments);
        }

        if (!before.Configuration.Equals(_condition.Configuration))
        {
            ReplicationEvents.Members(_logger, Id.Value, $"{_condition.Configuration}");
        }
    }
}
