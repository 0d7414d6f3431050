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

    private readonly RaftNode _raft;
    private readonly GroupLog _log;
    private readonly IStateMachine _machine;
    private readonly ILogWriter _writer;
    private readonly IPeerSender _sender;
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
        _time = time;
        _metrics = metrics;
        _logger = logger;
        _tail.Reset(log.LastIndex);
        _handedToWriter = log.LastIndex;
        _lastTimestampUnixMs = ReadLastTimestamp();
        var initial = new RaftInitialState
        {
            HardState = log.HardState,
            LastIndex = log.LastIndex,
            TermRuns = log.TermRuns,
        };
        _raft = new RaftNode(options, initial, SizeBytesOf, random, NowMs());
        _status = MakeStatus();
    }

    public GroupId Id { get; }

    /// <summary>The replica as it was after the last <see cref="Pump"/>.</summary>
    public GroupStatus Status => _status;

    public IStateMachine Machine => _machine;

    /// <summary>For the loop: called when the group has input and wants a <see cref="Pump"/>.</summary>
    public void OnInput(Action<ReplicaGroup> schedule) => _schedule = schedule;

    /// <summary>Whether a <see cref="Pump"/> is due even without input: a heartbeat or an election timeout.</summary>
    public bool IsDue => NowMs() >= _raft.NextDeadlineMs;

    /// <summary>
    /// Takes in everything that waits, steps Raft, sends, applies, and hands the next write to the log writer.
    /// </summary>
    public void Pump()
    {
        Volatile.Write(ref _scheduled, 0);
        _raft.Tick(NowMs());
        HandleReady(NoEntries);
        while (_inputs.TryDequeue(out var input))
        {
            Take(input);
        }

        ProposeWaiting();
        ApplyCommitted();
        SubmitWrite();
        PublishStatus();
    }

    /// <summary>
    /// Reads log entries for readers and index lookups: from memory when they are recent, else from disk. Any thread.
    /// Returns how many entries were added, at least one when the first exists.
    /// </summary>
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

    private long NowMs() => (long)_time.GetElapsedTime(0).TotalMilliseconds;

    private int SizeBytesOf(LogIndex index) => _tail.TryGet(index)?.SizeBytes ?? _log.SizeBytesOf(index);

    private long ReadLastTimestamp()
    {
        if (_log.LastIndex == LogIndex.None)
        {
            return 0;
        }

        var entries = new List<LogEntry>(1);
        _log.Read(_log.LastIndex, _log.LastIndex, int.MaxValue, entries);
        Invariant.Check(entries.Count == 1, "the last entry of a recovered log can be read");
        return entries[0].TimestampUnixMs;
    }

    private GroupStatus MakeStatus() =>
        new(Id, _raft.Role, _raft.Term, _raft.Leader, _raft.CommitIndex, _applied, _raft.LastIndex);

    private void PublishStatus()
    {
        var before = _status;
        if (before.CommitIndex == _raft.CommitIndex && before.AppliedIndex == _applied && before.Role == _raft.Role
            && before.Term == _raft.Term && before.Leader == _raft.Leader && before.LastIndex == _raft.LastIndex)
        {
            return;
        }

        _status = MakeStatus();
        if (before.Role == _raft.Role && before.Leader == _raft.Leader && before.Term == _raft.Term)
        {
            return;
        }

        ReplicationLog.StateChanged(_logger, Id.Value, _raft.Role, _raft.Term.Value, _raft.Leader.Value);
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
