using System.Collections.Concurrent;
using Broker.Consensus;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Storage;

namespace Broker.Replication;

/// <summary>
/// One replica of one Raft group: joins the pure RaftNode with its log, its peers and its state machine. Everything
/// mutable belongs to one thread, the one that calls <see cref="Pump"/>; other threads hand things in through the
/// bounded queues and look at <see cref="Status"/>. It has no thread, clock or timer of its own, so the simulator runs
/// it as it is.
/// <para>This is the core: it takes inputs, steps Raft, and hands what Raft says to the pieces, each of which has its
/// own state. They know of each other what their constructors say, and of the core <see cref="IGroupLoop"/>.</para>
/// </summary>
public sealed partial class ReplicaGroup : IGroupLoop
{
    /// <summary>What a group looks after now and then, beside its work: once a second is soon enough.</summary>
    private const long UpkeepMs = 1_000;

    private static readonly IReadOnlyList<LogEntry> NoEntries = [];

    private readonly Random _random;
    private RaftOptions _options;
    private RaftNode _raft;
    private readonly GroupLog _log;
    private readonly TimeProvider _time;
    private readonly BrokerMetrics _metrics;
    private readonly ILogger _logger;

    // The pieces, in the order in which each uses those before it.
    private readonly GroupBackground _background;
    private readonly EntryTraces _traces;
    private readonly LogEntries _entries;
    private readonly GroupWrites _writes;
    private readonly ProposalQueue _proposals;
    private readonly StateKeeper _state;
    private readonly PeerLanes _lanes;
    private readonly LeadershipWatch _leadership;
    private readonly LinearizableReads _reads;
    private bool _isShortOfSpace;
    private bool _isDraining;
    private bool _mayBeHollow;
    private readonly MembershipChanges _members;
    private readonly LeaderDuties _duties;

    private readonly ConcurrentQueue<GroupInput> _inputs = new();
    private Action<ReplicaGroup>? _schedule;
    private int _scheduled;
    private long _upkeepDueMs;
    private long _dutyDueMs = long.MaxValue;

    /// <summary>The snapshot that came with the message that is being stepped.</summary>
    private StateSnapshot? _arrived;

    public ReplicaGroup(
        GroupId id,
        RaftOptions options,
        GroupLog log,
        IStateMachine machine,
        ILogWriter writer,
        IPeerSender sender,
        IBackgroundWork background,
        TimeProvider time,
        Random random,
        BrokerMetrics metrics,
        ILogger logger,
        ThinningTurn? thinning = null)
    {
        Id = id;
        Machine = machine;
        _log = log;
        _time = time;
        _metrics = metrics;
        _logger = logger;
        _background = new GroupBackground(this, this, background, logger);
        _traces = new EntryTraces(id, machine, time);
        _entries = new LogEntries(id, log, _traces, time, logger);
        _writes = new GroupWrites(this, this, log, writer, logger);
        _proposals = new ProposalQueue(this, _entries, _writes, metrics);
        var initial = new GroupConfiguration(LogIndex.None, options.Voters, []);
        _state = new StateKeeper(
            this, initial, log, machine, _entries, _proposals, _traces, _background, thinning ?? new(), logger);
        _entries.LearnLastTimestamp(_state.Applied, machine.LastTimestampUnixMs);
        _lanes = new PeerLanes(this, sender, _entries, log.Snapshots, _writes, _background, logger);
        _leadership = new LeadershipWatch(this, _writes, _lanes, logger);
        _reads = new LinearizableReads(this);
        _members = new MembershipChanges(this, logger);
        _duties = new LeaderDuties(this, machine, _proposals, time);
        (_options, _random) = (options, random);
        _raft = MakeRaft();
        _condition = LookAtCondition();
        _status = MakeStatus();
    }

    public GroupId Id { get; }

    public IStateMachine Machine { get; }

    /// <summary>Whether a <see cref="Pump"/> is due without input: a heartbeat, an election, upkeep.</summary>
    public bool IsDue => DueInMs <= 0;

    /// <summary>Milliseconds until then, not above zero when it is now. Only a Pump changes the time.</summary>
    public long DueInMs =>
        Math.Min(Math.Min(_raft.NextDeadlineMs, Math.Min(_upkeepDueMs, _dutyDueMs)), _writes.DueMs) - NowMs();

    RaftNode IGroupLoop.Raft => _raft;

    long IGroupLoop.NowMs => NowMs();

    bool IGroupLoop.IsHollow => _state.IsHollow;

    /// <summary>Another replica would lead better: this one cannot write, or cannot apply what is committed.</summary>
    private bool IsHampered => CannotLead || IsShortOfSpace;

    private bool CannotLead => _writes.IsDiskFull || _writes.IsStalled || _state.IsBlocked;

    /// <summary>Why another replica should lead, although this one can; null: there is no reason.</summary>
    private string? LeavesLead =>
        IsShortOfSpace ? "its disk is almost full" : IsDraining ? "its operator is about to stop it" : null;

    /// <summary>For the loop: called when the group has input and wants a <see cref="Pump"/>.</summary>
    public void OnInput(Action<ReplicaGroup> schedule) => _schedule = schedule;

    /// <summary>
    /// Before the first <see cref="Pump"/>, of a log that is empty because its disk took the place of a lost one: the
    /// replica may have promised what nobody here knows. Durable when it returns.
    /// </summary>
    public void BeginAsLost()
    {
        Invariant.Check(_log.LastIndex == LogIndex.None, "a replica that begins as lost has no log");
        _log.Write(new LogWrite { HardState = HardState.Lost, Configuration = GroupConfiguration.None });
        Begin();
    }

    /// <summary>
    /// Before the first <see cref="Pump"/>, of a replica that has promised nothing: who votes in a group that begins
    /// is known only now. All its founders must say the same.
    /// </summary>
    public void BeginWith(IReadOnlyList<NodeId> voters, NodeId preferredLeader)
    {
        Invariant.Check(_log.LastIndex == LogIndex.None && _raft.Term == Term.None, "a group begins once");
        _options = _options with { Voters = voters, PreferredLeader = preferredLeader };
        _state.BeginWith(new GroupConfiguration(LogIndex.None, voters, []));
        Begin();
    }

    /// <summary>
    /// Takes in everything that waits, steps Raft, sends, applies, and hands the next write to the log writer.
    /// </summary>
    public void Pump()
    {
        // A full fence between the mark and the first look at the queue: whoever finds the mark still set has put its
        // input in before, and it is seen here. A plain write could become visible after the look, and the input would
        // wait for the next deadline.
        Interlocked.Exchange(ref _scheduled, 0);
        _raft.IsHampered = IsHampered || IsDraining;
        _raft.LeadsWhenAsked = !CannotLead;
        _raft.IsHollow = MayBeHollow || _state.IsHollow;
        _raft.AwaitsCommits = Machine.IsAwaited || _reads.IsAwaited;
        _raft.Tick(NowMs());
        HandleReady(NoEntries);
        while (_inputs.TryDequeue(out var input))
        {
            Take(input);
        }

        ProposeWaiting();
        _reads.Start();
        HandleReady(NoEntries);
        LookAfter();
        ApplyCommitted();
        AwaitDuty();
        _members.Settle();
        _writes.Submit();
        LookAfterWrite();
        HandleReady(NoEntries);
        PublishStatus();
    }

    /// <summary>
    /// Reads log entries for readers and index lookups: from memory when they are recent, else from disk. Any thread.
    /// Returns how many entries were added, at least one when the first exists; 0 for what was dropped.
    /// </summary>
    /// <exception cref="StorageCorruptException">An entry's segment is damaged; it waits for repair.</exception>
    public int ReadEntries(LogIndex from, LogIndex to, int maxBytes, ICollection<LogEntry> into) =>
        _entries.Read(from, to, maxBytes, into);

    private void Begin()
    {
        _raft = MakeRaft();
        _condition = LookAtCondition();
        _status = MakeStatus();
    }

    private RaftNode MakeRaft()
    {
        var initial = new RaftInitialState
        {
            HardState = _log.HardState,
            Base = _log.Base,
            LastIndex = _log.LastIndex,
            TermRuns = _log.TermRuns,
            CommitIndex = _state.Applied,
            Configuration = _log.Configuration,
            PreviousConfiguration = _log.PreviousConfiguration,
            Fence = _log.Fence,
            Doubt = _log.Doubt,
            HasLedLastTerm = _log.Fence == LogPosition.None && _log.Doubt == LogPosition.None
                && _entries.LeaderOfLastTerm(_log.TermRuns) == _options.Id,
        };
        return new RaftNode(
            _options, initial, index => _entries.SizeBytesOf(index, _writes.Dropping), _random, NowMs());
    }

    private long NowMs() => (long)_time.GetElapsedTime(0).TotalMilliseconds;

    private void Schedule()
    {
        if (Interlocked.Exchange(ref _scheduled, 1) == 0)
        {
            _schedule?.Invoke(this);
        }
    }

    private void ProposeWaiting()
    {
        if (_raft.Role == RaftRole.Leader)
        {
            _proposals.Propose(_state.Applied);
            HandleReady(NoEntries);
        }
        else
        {
            _proposals.FailAll();
        }
    }

    private void ApplyCommitted()
    {
        var isAllAtHand = _state.TryApply();
        _reads.Finish(_state.Applied);
        if (isAllAtHand && _state.Applied < _raft.CommitIndex)
        {
            Schedule();
        }
    }

    /// <summary>
    /// Upkeep comes soon enough for what is due after it. A time that is to come already is not put off: else there
    /// would always be a later one while much is to be done.
    /// </summary>
    private void AwaitDuty()
    {
        var now = NowMs();
        var next = _duties.DueInMs is { } wait and <= UpkeepMs ? now + wait : long.MaxValue;
        _dutyDueMs = next < long.MaxValue && _dutyDueMs > now ? Math.Min(_dutyDueMs, next) : next;
    }

    private void LookAfter()
    {
        var now = NowMs();
        if (now >= _dutyDueMs && now < _upkeepDueMs)
        {
            _duties.Propose();
        }

        if (now < _upkeepDueMs)
        {
            return;
        }

        // All groups of a node at once: it wakes once for all of them.
        _upkeepDueMs = ((now / UpkeepMs) + 1) * UpkeepMs;
        ConsiderDrop();
        _state.LookAfter(now, MayBeHollow);
        _members.Approach();
        _duties.Propose();
        _leadership.ConsiderHandingOver(now, _state.IsBlocked, LeavesLead);
        _leadership.LookWhetherStuck(now, IsHampered);
        if (_leadership.IsStuck)
        {
            _proposals.RefuseAll();
        }

        _background.LookAfter(now);
        _leadership.LookAtProgress(now);
        HandleReady(NoEntries);
        _conditionIsStale = true;
    }

    /// <summary>
    /// The beginning of the log goes when nobody needs it: the base moves to a snapshot below everything that is
    /// wanted. Each replica does it for itself; what readers may see follows from the replicated state alone.
    /// </summary>
    private void ConsiderDrop()
    {
        if (_writes.Dropping is null && !_lanes.IsReadingSnapshot && _state.DroppableThrough() is { } through)
        {
            _writes.DropThrough(through);
        }
    }

    private void LookAfterWrite()
    {
        if (_writes.LookAfter() is { } lastsMs)
        {
            _leadership.HandOverStalled(NowMs(), lastsMs);
        }
    }

    /// <summary>Takes Raft's Ready. arrived: the entries of the message that was just stepped.</summary>
    private void HandleReady(IReadOnlyList<LogEntry> arrived)
    {
        while (_raft.HasReady)
        {
            var ready = _raft.TakeReady();
            if (ready.PersistSequence > 0)
            {
                Gather(ready, arrived);
            }

            foreach (var message in ready.Messages)
            {
                _lanes.Send(message);
            }

            _reads.Take(ready.Reads);
        }
    }

    private void Gather(Ready ready, IReadOnlyList<LogEntry> arrived)
    {
        _writes.Gather(ready);
        if (ready.Snapshot is { } position)
        {
            Invariant.Check(_arrived?.Position == position, "a snapshot takes the log's place when it has come");
            _state.BeginInstall(_arrived);
            _writes.ReplaceLog(_arrived);
            _entries.Replace(position.Index);
        }

        if (ready.TruncateFrom is { } from)
        {
            Invariant.Check(from > _state.Applied, "an applied entry is never truncated");
            _entries.TruncateFrom(from);
            _writes.TruncateFrom(from);
        }

        if (ready.AppendedConfiguration is { } changed)
        {
            _entries.Make(changed.Index, _raft.Term, EntryKind.Configuration, 0, changed.Encode());
        }

        if (ready.Noop is { } noop)
        {
            _entries.Make(noop, _raft.Term, EntryKind.Noop, 0, LogEntries.BodyOfNoop(_raft.Id));
        }

        for (var index = ready.AppendFirst; index <= ready.AppendLast; index = index.Next())
        {
            var entry = _entries.TryGet(index);
            if (entry is null || entry.Term != _raft.TermAt(index))
            {
                entry = arrived[(int)(index - arrived[0].Index)];
                _entries.Take(entry);
            }

            _writes.Append(entry);
        }
    }

    private void FinishWrite()
    {
        var done = _writes.Complete();
        if (done.WasHeldUp)
        {
            _leadership.WritesAgain();
        }

        _state.LookForSeals();
        if (done.Snapshot is { } snapshot)
        {
            _state.FinishInstall(snapshot);
        }

        _raft.Persisted(done.Sequence);
        _traces.Flushed(_raft.FlushedIndex);
        if (done.DropThrough is { } through)
        {
            _writes.EndDrop();
            _state.FinishDrop(through);
        }

        // What is blocked from being applied can be read from disk again; memory stays bounded meanwhile.
        _entries.Evict(_state.IsBlocked ? _raft.FlushedIndex : LogIndex.Min(_state.Applied, _raft.FlushedIndex));
    }
}
