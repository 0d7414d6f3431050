using System.Collections.Concurrent;
using Broker.Consensus;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Storage;

namespace Broker.Replication;

/// <summary>
/// One replica of one Raft group: joins the pure RaftNode with its log, its peers and its state machine. Everything
/// mutable belongs to one thread, the one that calls <see cref="Pump"/>; other threads hand things in through the
/// bounded queues and look at
/// <see cref="Status"/>. It has no thread, clock or timer of its own, so the simulator runs it as it is.
/// </summary>
public sealed partial class ReplicaGroup
{
    private static readonly IReadOnlyList<LogEntry> NoEntries = [];

    private readonly Func<RaftNode> _makeRaft;
    private RaftNode _raft;
    private readonly GroupLog _log;
    private readonly IStateMachine _machine;
    private readonly ILogWriter _writer;
    private readonly IPeerSender _sender;
    private readonly IBackgroundWork _background;
    private readonly TimeProvider _time;
    private readonly BrokerMetrics _metrics;
    private readonly ILogger _logger;
    private readonly TailCache _tail = new(Limits.TailCacheBytesPerGroup);
    private readonly ConcurrentQueue<GroupInput> _inputs = new();
    private Action<ReplicaGroup>? _schedule;
    private TaskCompletionSource _statusChanged = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile GroupStatus _status;
    private int _scheduled;

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
        ILogger logger)
    {
        Id = id;
        _log = log;
        _machine = machine;
        _writer = writer;
        _sender = sender;
        _background = background;
        _time = time;
        _metrics = metrics;
        _logger = logger;
        _appliedConfiguration = new GroupConfiguration(LogIndex.None, options.Voters, []);
        _snapshots = [.. log.Snapshots.List()];
        RestoreNewest();
        CountSealedLog();
        _tail.Reset(log.LastIndex);
        _handedToWriter = log.LastIndex;
        LearnLastTimestamp();
        _makeRaft = () => MakeRaft(options, random);
        _raft = _makeRaft();
        _condition = LookAtCondition();
        _floorDueMs = NowMs() + Limits.RaiseFloorAfterMs;
        _status = MakeStatus();
    }

    public GroupId Id { get; }

    /// <summary>The replica as it was after the last <see cref="Pump"/>.</summary>
    public GroupStatus Status => _status;

    public IStateMachine Machine => _machine;

    /// <summary>For the loop: called when the group has input and wants a <see cref="Pump"/>.</summary>
    public void OnInput(Action<ReplicaGroup> schedule) => _schedule = schedule;

    /// <summary>Whether a <see cref="Pump"/> is due without input: a heartbeat, an election, upkeep.</summary>
    public bool IsDue => DueInMs <= 0;

    /// <summary>Milliseconds until then, not above zero when it is now. Only a Pump changes the time.</summary>
    public long DueInMs => Math.Min(
        Math.Min(_raft.NextDeadlineMs, _upkeepDueMs), _writeInFlight ? _writeLookMs : _floorDueMs) - NowMs();

    /// <summary>
    /// Before the first <see cref="Pump"/>, of a log that is empty because its disk took the place of a lost one: the
    /// replica may have promised what nobody here knows. Durable when it returns.
    /// </summary>
    public void BeginAsLost()
    {
        Invariant.Check(_log.LastIndex == LogIndex.None, "a replica that begins as lost has no log");
        _log.Write(new LogWrite { HardState = HardState.Lost, Configuration = GroupConfiguration.None });
        _raft = _makeRaft();
        _condition = LookAtCondition();
        _status = MakeStatus();
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
        _raft.IsHampered = IsHampered;
        _raft.Tick(NowMs());
        HandleReady(NoEntries);
        while (_inputs.TryDequeue(out var input))
        {
            Take(input);
        }

        ProposeWaiting();
        StartReads();
        LookAfter();
        ApplyCommitted();
        SettleChange();
        SubmitWrite();
        LookAfterWrite();
        HandleReady(NoEntries);
        PublishStatus();
    }

    /// <summary>
    /// Reads log entries for readers and index lookups: from memory when they are recent, else from disk. Any thread.
    /// Returns how many entries were added, at least one when the first exists; 0 for what was dropped.
    /// </summary>
    /// <exception cref="StorageCorruptException">An entry's segment is damaged; it waits for repair.</exception>
    public int ReadEntries(LogIndex from, LogIndex to, int maxBytes, ICollection<LogEntry> into)
    {
        var count = _tail.Read(from, to, maxBytes, into);
        return count > 0 ? count : _log.Read(from, to, maxBytes, into);
    }

    /// <summary>Completes when the status differs from seen, or when the token is cancelled.</summary>
    public Task WaitForChangeAsync(GroupStatus seen, CancellationToken cancellationToken)
    {
        var signal = Volatile.Read(ref _statusChanged);
        return ReferenceEquals(seen, _status) ? signal.Task.WaitAsync(cancellationToken) : Task.CompletedTask;
    }

    private RaftNode MakeRaft(RaftOptions options, Random random)
    {
        var initial = new RaftInitialState
        {
            HardState = _log.HardState,
            Base = _log.Base,
            LastIndex = _log.LastIndex,
            TermRuns = _log.TermRuns,
            CommitIndex = _applied,
            Configuration = _log.Configuration,
            PreviousConfiguration = _log.PreviousConfiguration,
            Fence = _log.Fence,
            Doubt = _log.Doubt,
        };
        return new RaftNode(options, initial, SizeBytesOf, random, NowMs());
    }

    private long NowMs() => (long)_time.GetElapsedTime(0).TotalMilliseconds;

    /// <summary>
    /// What the writer may be dropping at this moment, and what the log knows only from disk, which the loop does not
    /// wait for, counts as a whole message. When such an entry is read, to be sent, the sizes of those around it become
    /// known.
    /// </summary>
    private int SizeBytesOf(LogIndex index)
    {
        if (_tail.TryGet(index) is { } entry)
        {
            return entry.SizeBytes;
        }

        var isDropped = index <= _dropping;
        return !isDropped && _log.TrySizeBytesOf(index, out var sizeBytes) ? sizeBytes : Limits.AppendMessageBytes;
    }

    /// <summary>The time of the last entry: that of the next one must not precede it.</summary>
    private void LearnLastTimestamp()
    {
        _lastTimestampUnixMs = _machine.LastTimestampUnixMs;
        var entries = new List<LogEntry>(1);
        if (_log.LastIndex <= _applied)
        {
            return;
        }

        if (TryRead(_log.LastIndex, _log.LastIndex, int.MaxValue, entries))
        {
            _lastTimestampUnixMs = Math.Max(_lastTimestampUnixMs, entries[0].TimestampUnixMs);
        }
        else
        {
            _timeUnknownThrough = _log.LastIndex;
        }
    }

    private GroupStatus MakeStatus() =>
        new(Id, _raft.Role, _raft.Term, _raft.Leader, _raft.CommitIndex, _applied, _raft.LastIndex, _condition);

    private void PublishStatus()
    {
        RefreshCondition();
        var before = _status;
        if (ReferenceEquals(before.Condition, _condition)
            && before.CommitIndex == _raft.CommitIndex && before.AppliedIndex == _applied && before.Role == _raft.Role
            && before.Term == _raft.Term && before.Leader == _raft.Leader && before.LastIndex == _raft.LastIndex)
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

    private void Schedule()
    {
        if (Interlocked.Exchange(ref _scheduled, 1) == 0)
        {
            _schedule?.Invoke(this);
        }
    }
}
