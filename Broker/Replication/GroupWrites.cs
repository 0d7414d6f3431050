using Broker.Consensus;
using Broker.Domain;
using Broker.Storage;

namespace Broker.Replication;

/// <summary>
/// What a group writes to its log: what Raft asks for gathers here while the one write that may be on its way to the
/// disk is under way; and the watch over that one, when the disk is full or hangs.
/// </summary>
internal sealed class GroupWrites
{
    private readonly IGroupLoop _loop;
    private readonly ReplicaGroup _group;
    private readonly GroupLog _log;
    private readonly ILogWriter _writer;
    private readonly ILogger _logger;

    private LogWrite _gathering = new();
    private LogWrite _writing = new(); // the writer's, unless Idle
    private long _gatheringSequence; // 0: Raft waits for nothing of it
    private long _writingSequence;
    private LogIndex _handedToWriter; // the highest index that the log, or the write under way, holds

    private WriteState _state;
    private long _submittedMs;
    private long _lookMs = long.MaxValue; // when it is looked at next; never, while Idle
    private long _againMs; // when it is submitted again, while it waits for space
    private long _floorDueMs;

    /// <param name="loop">The group.</param>
    /// <param name="group">In whose name the writer writes.</param>
    /// <param name="log">Where to.</param>
    /// <param name="writer">Who writes.</param>
    /// <param name="logger">Who hears of a full disk and of one that hangs.</param>
    public GroupWrites(IGroupLoop loop, ReplicaGroup group, GroupLog log, ILogWriter writer, ILogger logger)
    {
        _loop = loop;
        _group = group;
        _log = log;
        _writer = writer;
        _logger = logger;
        _handedToWriter = log.LastIndex;
        _floorDueMs = loop.NowMs + Limits.RaiseFloorAfterMs;
    }

    /// <summary>
    /// Idle → UnderWay, by <see cref="Submit"/>. UnderWay → Idle, by <see cref="Complete"/>.
    /// UnderWay → WaitsForSpace, by <see cref="WaitForSpace"/>, and back after a second.
    /// </summary>
    private enum WriteState
    {
        Idle,
        UnderWay,

        /// <summary>It came back from a full disk, and is still the next to be written.</summary>
        WaitsForSpace,
    }

    public bool IsIdle => _state == WriteState.Idle;

    public bool IsDiskFull { get; private set; }

    /// <summary>The write under way takes longer than a leader may be silent.</summary>
    public bool IsStalled { get; private set; }

    /// <summary>
    /// What the writer may be dropping at this moment, or will soon: the log through this entry. Raft keeps its base
    /// until the log has moved its own, as storage drops nothing when it cannot read the snapshot.
    /// </summary>
    public LogIndex? Dropping { get; private set; }

    /// <summary>When <see cref="Submit"/> or <see cref="LookAfter"/> has something to do without input.</summary>
    public long DueMs => IsIdle ? _floorDueMs : _lookMs;

    /// <summary>What Raft says of itself and of the members. What it says of the log follows.</summary>
    public void Gather(Ready ready)
    {
        _gatheringSequence = ready.PersistSequence;
        if (ready.HardState is { } hardState)
        {
            _gathering.HardState = hardState;
        }

        if (ready.Configuration is { } configuration)
        {
            _gathering.Configuration = configuration;
            _gathering.PreviousConfiguration = ready.PreviousConfiguration;
            _loop.ConditionChanged();
        }

        if (ready.Fence is { } fence)
        {
            _gathering.Fence = fence;
            _loop.ConditionChanged();
        }
    }

    /// <summary>The whole log is replaced: nothing that was gathered for it matters any more.</summary>
    public void ReplaceLog(StateSnapshot snapshot)
    {
        _gathering.Entries.Clear();
        _gathering.TruncateFrom = null;
        _gathering.DropThrough = Dropping = null;
        _gathering.Snapshot = snapshot;
        _handedToWriter = snapshot.Position.Index;
    }

    public void TruncateFrom(LogIndex from)
    {
        _gathering.Entries.RemoveAll(entry => entry.Index >= from);
        if (from <= _handedToWriter)
        {
            _gathering.TruncateFrom = _gathering.TruncateFrom is { } earlier ? LogIndex.Min(earlier, from) : from;
            _handedToWriter = from.Previous();
        }
    }

    public void Append(LogEntry entry) => _gathering.Entries.Add(entry);

    /// <summary>The log shall begin after this entry, if there is a snapshot when it comes to that.</summary>
    public void DropThrough(LogIndex through) => _gathering.DropThrough = Dropping = through;

    /// <summary>The log begins where the write has brought it.</summary>
    public void EndDrop() => Dropping = null;

    /// <summary>Hands what has gathered to the writer, when that has nothing of this group.</summary>
    public void Submit()
    {
        if (!IsIdle)
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
        _state = WriteState.UnderWay;
        _submittedMs = _loop.NowMs;
        _lookMs = _submittedMs + Limits.WriteExpediteMs;
        if (_writing.Entries.Count > 0)
        {
            _handedToWriter = _writing.Entries[^1].Index;
        }

        _writer.Submit(_group, _log, _writing);
    }

    /// <summary>The write under way is durable.</summary>
    public CompletedWrite Complete()
    {
        Invariant.Check(_state == WriteState.UnderWay, "a write completes once");
        var done = new CompletedWrite(
            _writingSequence, _writing.Snapshot, _writing.DropThrough, WasHeldUp: IsDiskFull || IsStalled);
        _floorDueMs = _writing.Entries.Count > 0 ? _loop.NowMs + Limits.RaiseFloorAfterMs : _floorDueMs;
        _writing.Clear();
        _state = WriteState.Idle;
        _lookMs = long.MaxValue;
        if (done.WasHeldUp)
        {
            ReplicationEvents.WritesAgain(_logger, _loop.Id.Value, _loop.NowMs - _submittedMs);
            IsDiskFull = IsStalled = false;
            _loop.ConditionChanged();
        }

        return done;
    }

    /// <summary>The writer found no space for the write under way: it is tried again.</summary>
    public void WaitForSpace(string reason)
    {
        Invariant.Check(_state == WriteState.UnderWay, "a write comes back once");
        _state = WriteState.WaitsForSpace;
        _againMs = _loop.NowMs + Limits.DiskFullRetryMs;
        if (!IsDiskFull)
        {
            ReplicationEvents.DiskFull(_logger, _loop.Id.Value, reason);
            IsDiskFull = true;
            _loop.ConditionChanged();
        }
    }

    /// <summary>
    /// While a write is under way: has it done by somebody else, or again, each in its time. Returns how long it has
    /// lasted, when that is longer than a leader may be silent and it is time to look; else null.
    /// </summary>
    public long? LookAfter()
    {
        var now = _loop.NowMs;
        if (now < _lookMs)
        {
            return null;
        }

        _lookMs = now + Limits.WriteExpediteMs;
        if (_state == WriteState.UnderWay)
        {
            _writer.Expedite(_group);
        }
        else if (now >= _againMs)
        {
            _state = WriteState.UnderWay;
            _writer.Submit(_group, _log, _writing);
        }

        var lastsMs = now - _submittedMs;
        if (lastsMs < Limits.WriteStallMs)
        {
            return null;
        }

        if (!IsStalled)
        {
            IsStalled = true;
            _loop.ConditionChanged();
            if (!IsDiskFull)
            {
                ReplicationEvents.WriteStalled(_logger, _loop.Id.Value, lastsMs);
            }
        }

        return lastsMs;
    }

    /// <summary>
    /// Each entry proves that those of the writes before it were durable. The last ones get their proof when nothing
    /// follows them for a while: then damage of them is told apart from a write that never returned.
    /// </summary>
    private void RaiseFloorWhenQuiet()
    {
        if (_loop.NowMs >= _floorDueMs)
        {
            _floorDueMs = long.MaxValue;
            _gathering.RaisesFloor = true;
        }
    }

    /// <param name="Sequence">What Raft knows the write by; 0: nothing of it was Raft's.</param>
    /// <param name="Snapshot">What has taken the place of the log; null: nothing.</param>
    /// <param name="DropThrough">The log was to begin after this entry; null: nothing was to be dropped.</param>
    /// <param name="WasHeldUp">The disk was full, or hung under it for long.</param>
    internal readonly record struct CompletedWrite(
        long Sequence, StateSnapshot? Snapshot, LogIndex? DropThrough, bool WasHeldUp);
}
