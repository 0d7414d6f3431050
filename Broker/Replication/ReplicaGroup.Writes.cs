using Broker.Consensus;
using Broker.Domain;

namespace Broker.Replication;

/// <summary>
/// The one write that this group has on its way to the disk, and what to do when it comes to no end: the disk is full,
/// or hangs. A leader then hands over when a majority has on its disks what this one could not write. Where none has,
/// because other disks are so too, it stays, and its callers are told.
/// </summary>
public sealed partial class ReplicaGroup
{
    private bool _writeInFlight;
    private long _floorDueMs;
    private long _writeSubmittedMs;

    /// <summary>When the write under way is looked at next.</summary>
    private long _writeLookMs = long.MaxValue;

    /// <summary>The write came back from a full disk and is tried again at this time.</summary>
    private long? _writeAgainMs;

    private bool _isDiskFull;

    /// <summary>The write under way takes longer than a leader may be silent.</summary>
    private bool _isWriteStalled;

    /// <summary>
    /// It leads, and nothing can commit: it cannot write and no majority could without it, or too few of its followers
    /// can. Publishes are refused until that is over.
    /// </summary>
    private volatile bool _isStuck;

    /// <summary>What had committed when that last grew, or was all that there is, while it leads.</summary>
    private LogIndex _committedByMe;

    private long _committedMs;

    private long _handOverNotBeforeMs;

    /// <summary>What is being done in the background, and since when nothing of it has come to an end.</summary>
    private int _backgroundWorks;

    private long _backgroundSinceMs;
    private bool _isBackgroundStalled;

    /// <summary>Another replica would lead better: this one cannot write, or cannot apply what is committed.</summary>
    private bool IsHampered => _isDiskFull || _isWriteStalled || IsApplyBlocked;

    /// <summary>The log writer has made the submitted write durable. Any thread.</summary>
    public void WriteCompleted() => Hand(new GroupInput(GroupInputKind.WriteCompleted));

    /// <summary>The log writer found no space for the submitted write: it is tried again. Any thread.</summary>
    public void WriteFoundNoSpace(string reason) => Resume(() => WaitForSpace(reason));

    private void SubmitWrite()
    {
        if (_writeInFlight)
        {
            return;
        }

        RaiseFloorWhenQuiet();
        if (_gatheringSequence == 0 && _gathering.DropThrough is null && !_gathering.RaisesFloor)
        {
            return;
        }

        (_gathering, _writing) = (_writing, _gathering);
        (_writingSequence, _gatheringSequence) = (_gatheringSequence, 0);
        _writeInFlight = true;
        _writeSubmittedMs = NowMs();
        _writeLookMs = _writeSubmittedMs + Limits.WriteExpediteMs;
        if (_writing.Entries.Count > 0)
        {
            _handedToWriter = _writing.Entries[^1].Index;
        }

        _writer.Submit(this, _log, _writing);
    }

    /// <summary>
    /// Each entry proves that those of the writes before it were durable. The last ones get their proof when nothing
    /// follows them for a while: then damage of them is told apart from a write that never returned.
    /// </summary>
    private void RaiseFloorWhenQuiet()
    {
        if (NowMs() >= _floorDueMs)
        {
            _floorDueMs = long.MaxValue;
            _gathering.RaisesFloor = true;
        }
    }

    private void FinishWrite()
    {
        Invariant.Check(_writeInFlight && _writeAgainMs is null, "a write completes once");
        var snapshot = _writing.Snapshot;
        var dropped = _writing.DropThrough;
        _floorDueMs = _writing.Entries.Count > 0 ? NowMs() + Limits.RaiseFloorAfterMs : _floorDueMs;
        _writing.Clear();
        EndStall();
        if (_installing is null)
        {
            LookForSeals();
            PassSeal();
        }

        if (snapshot is not null)
        {
            FinishInstall(snapshot);
        }

        _raft.Persisted(_writingSequence);
        TraceFlushed(_raft.FlushedIndex);
        if (dropped is { } through)
        {
            FinishDrop(through);
        }

        // What is blocked from being applied can be read from disk again; memory stays bounded meanwhile.
        _tail.Evict(IsApplyBlocked ? _raft.FlushedIndex : LogIndex.Min(_applied, _raft.FlushedIndex));
    }

    private void EndStall()
    {
        _writeInFlight = false;
        _writeLookMs = long.MaxValue;
        if (_isDiskFull || _isWriteStalled)
        {
            ReplicationEvents.WritesAgain(_logger, Id.Value, NowMs() - _writeSubmittedMs);
            _isDiskFull = _isWriteStalled = _isStuck = false;
            _conditionIsStale = true;
        }
    }

    private void WaitForSpace(string reason)
    {
        Invariant.Check(_writeInFlight && _writeAgainMs is null, "a write comes back once");
        _writeAgainMs = NowMs() + Limits.DiskFullRetryMs;
        if (!_isDiskFull)
        {
            ReplicationEvents.DiskFull(_logger, Id.Value, reason);
            _isDiskFull = true;
            _conditionIsStale = true;
        }
    }

    /// <summary>
    /// While a write is under way: has it done by somebody else, again, or hands leadership over, each in its time.
    /// </summary>
    private void LookAfterWrite()
    {
        var now = NowMs();
        if (now < _writeLookMs)
        {
            return;
        }

        _writeLookMs = now + Limits.WriteExpediteMs;
        if (_writeAgainMs is null)
        {
            _writer.Expedite(this);
        }
        else if (now >= _writeAgainMs)
        {
            _writeAgainMs = null;
            _writer.Submit(this, _log, _writing);
        }

        var lastsMs = now - _writeSubmittedMs;
        if (lastsMs < Limits.WriteStallMs)
        {
            return;
        }

        if (!_isWriteStalled)
        {
            _isWriteStalled = true;
            _conditionIsStale = true;
            if (!_isDiskFull)
            {
                ReplicationEvents.WriteStalled(_logger, Id.Value, lastsMs);
            }
        }

        HandOverStalled(now, lastsMs);
    }

    /// <summary>Whether this leader can bring nothing about, and has been so for two election timeouts.</summary>
    private void LookWhetherStuck(long now)
    {
        if (_raft.Role != RaftRole.Leader || _raft.CommitIndex > _committedByMe || _raft.CommitIndex == _raft.LastIndex)
        {
            (_committedByMe, _committedMs) = (_raft.CommitIndex, now);
            _isStuck = false;
            return;
        }

        var able = IsHampered ? 0 : 1;
        foreach (var follower in _raft.Followers)
        {
            able += IsFit(follower) ? 1 : 0;
        }

        _isStuck = now - _committedMs >= 2 * Limits.WriteStallMs
            && (_isWriteStalled || able <= _raft.Configuration.Voters.Length / 2);
        if (_isStuck)
        {
            RefuseWhileStuck();
        }
    }

    /// <summary>
    /// The entries of a leader leave for its followers beside its own write: whoever has flushed more than the leader
    /// itself can write, and has shown it. With fewer than a majority of those nothing would be won, and callers would
    /// hear that nobody leads. When nobody is elected even so, the heir no longer waits for what this leader may not be
    /// able to give it.
    /// </summary>
    private void HandOverStalled(long now, long lastsMs)
    {
        if (_raft.Role != RaftRole.Leader || now < _handOverNotBeforeMs)
        {
            return;
        }

        var (heir, match, writers) = (NodeId.None, LogIndex.None, 0);
        foreach (var follower in _raft.Followers)
        {
            if (IsFit(follower) && follower.MatchIndex > _raft.FlushedIndex)
            {
                writers++;
                (heir, match) = follower.MatchIndex > match ? (follower.NodeId, follower.MatchIndex) : (heir, match);
            }
        }

        if (writers > _raft.Configuration.Voters.Length / 2
            && _raft.TryTransferLeadership(heir, catchesUp: lastsMs < 2 * Limits.WriteStallMs))
        {
            _handOverNotBeforeMs = now + Limits.WriteStallMs;
            ReplicationEvents.HandingOver(
                _logger, Id.Value, heir.Value, _isDiskFull ? "its disk is full" : "its disk does not answer");
        }
    }

    /// <summary>What waits was never proposed. What was may be stored yet, when there is space again.</summary>
    private void RefuseWhileStuck()
    {
        while (_waiting.TryDequeue(out var proposal))
        {
            Forget(proposal);
            proposal.Fail(Refusal.CannotWrite(Id, _isDiskFull));
        }

        while (_proposed.TryDequeue(out var entry))
        {
            FailProposed(entry);
        }
    }

    /// <summary>Has something done that waits for files; it hands its result to the loop.</summary>
    private void RunInBackground(Action work)
    {
        if (Interlocked.Increment(ref _backgroundWorks) == 1)
        {
            Volatile.Write(ref _backgroundSinceMs, NowMs());
        }

        _background.Run(this, () =>
        {
            work();
            Volatile.Write(ref _backgroundSinceMs, NowMs());
            Interlocked.Decrement(ref _backgroundWorks);
        });
    }

    private void LookAfterBackground(long now)
    {
        var lastsMs = Volatile.Read(ref _backgroundWorks) == 0 ? 0 : now - Volatile.Read(ref _backgroundSinceMs);
        if (lastsMs >= Limits.BackgroundExpediteMs)
        {
            _background.Expedite(this);
        }

        var isStalled = lastsMs >= Limits.BackgroundStallMs;
        if (isStalled && !_isBackgroundStalled)
        {
            ReplicationEvents.BackgroundStalled(_logger, Id.Value, lastsMs);
        }

        _isBackgroundStalled = isStalled;
    }
}
