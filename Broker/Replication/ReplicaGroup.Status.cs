using Broker.Consensus;
using Broker.Domain;

namespace Broker.Replication;

/// <content>What others may see of the replica, and who is told when it changes.</content>
public sealed partial class ReplicaGroup
{
    private volatile GroupStatus _status;
    private TaskCompletionSource _statusChanged = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private GroupCondition _condition;
    private bool _conditionIsStale;

    /// <summary>The replica as it was after the last <see cref="Pump"/>.</summary>
    public GroupStatus Status => _status;

    void IGroupLoop.ConditionChanged() => _conditionIsStale = true;

    /// <summary>Completes when the status differs from seen, or when the token is cancelled.</summary>
    public Task WaitForChangeAsync(GroupStatus seen, CancellationToken cancellationToken)
    {
        var signal = Volatile.Read(ref _statusChanged);
        return ReferenceEquals(seen, _status) ? signal.Task.WaitAsync(cancellationToken) : Task.CompletedTask;
    }

    private GroupStatus MakeStatus() => new(
        Id, _raft.Role, _raft.Term, _raft.Leader, _raft.CommitIndex, _state.Applied, _raft.LastIndex, _condition,
        _raft.LastTerm);

    private void PublishStatus()
    {
        RefreshCondition();
        var before = _status;
        if (ReferenceEquals(before.Condition, _condition)
            && before.CommitIndex == _raft.CommitIndex && before.AppliedIndex == _state.Applied
            && before.Role == _raft.Role && before.Term == _raft.Term && before.Leader == _raft.Leader
            && before.LastIndex == _raft.LastIndex && before.LastTerm == _raft.LastTerm)
        {
            return;
        }

        _status = MakeStatus();
        if (before.Role == _raft.Role && before.Leader == _raft.Leader && before.Term == _raft.Term)
        {
            return;
        }

        ReplicationEvents.StateChanged(_logger, Id.Value, _raft.Role, _raft.Term.Value, _raft.Leader.Value);
        if (before.Role != RaftRole.Leader && _raft.Role == RaftRole.Leader)
        {
            _metrics.BecameLeader();
        }

        Interlocked.Exchange(
            ref _statusChanged, new(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();
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
            _state.NewestSnapshot,
            _raft.Configuration,
            _raft.IsFenced,
            _log.HardState.IsLost || _raft.IsSuperseded,
            _raft.IsPassive,
            _state.IsBlocked,
            _writes.IsDiskFull,
            _writes.IsStalled,
            _background.IsStalled,
            _leadership.IsBehind,
            _leadership.IsStuck,
            damaged,
            _state.CountDamagedIndexes(),
            _raft.Fence,
            _state.HollowSegments,
            _log.HollowSegments > 0 ? Machine.FirstNeeded : LogIndex.None,
            _raft.IsSuperseded);
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
        now.Tell(before, Id, _raft, _state.Applied, _logger);
    }
}
