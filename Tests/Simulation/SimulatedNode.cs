using Broker.Consensus;
using Broker.Domain;

namespace Broker.Tests.Simulation;

/// <summary>
/// One broker's replica: the real RaftNode, a disk, a writer with its own pace, a clock of its own speed.
/// </summary>
internal sealed class SimulatedNode
{
    private const long HealthyFlushMaxUs = 1_000;

    private readonly World _world;
    private readonly RaftOptions _options;
    private readonly double _clockRate;
    private readonly List<Entry> _log = [];
    private readonly Queue<DiskWrite> _writes = new();
    private readonly List<DiskWrite> _underWay = [];
    private readonly Queue<Action> _whilePaused = new();
    private readonly HashSet<(LogIndex Index, long Value)> _waiting = [];
    private LogIndex _appliedIndex;
    private RaftNode? _raft;
    private Packet? _arriving;
    private bool _isPaused;

    /// <summary>A flush takes so many times as long as usual.</summary>
    private int _slowness = 1;

    /// <summary>Counts flushes and crashes: a flush that was given up or begun again does not end twice.</summary>
    private int _flush;

    /// <summary>Counts starts and crashes: what an earlier life had scheduled does not happen.</summary>
    private int _life;

    public SimulatedNode(World world, int id, int nodes)
    {
        _world = world;
        _clockRate = 1 + (((world.Random.NextDouble() * 2) - 1) * world.Scenario.ClockSkew);
        _options = new RaftOptions
        {
            Id = new NodeId(id),
            Voters = [.. Enumerable.Range(1, nodes).Select(voter => new NodeId(voter))],
            MaxAppendBytes = world.Scenario.MaxAppendBytes,
            MaxInFlightBytes = world.Scenario.MaxInFlightBytes,
            MaxUncommittedBytes = world.Scenario.MaxUncommittedBytes,
            PreferredLeader = new NodeId(1),
        };
        Disk = new ModelDisk();
    }

    public NodeId Id => _options.Id;

    public IReplicaDisk Disk { get; }

    public bool IsUp => _raft is not null;

    public bool IsLeader => _raft?.Role == RaftRole.Leader;

    public Term Term => _raft?.Term ?? Disk.HardState.Term;

    public LogIndex LastIndex => new(_log.Count);

    public LogIndex AppliedIndex => _appliedIndex;

    public IReadOnlyList<Entry> Log => _log;

    private long LocalMs => (long)(_world.Scheduler.NowUs * _clockRate / 1000);

    public void Start()
    {
        if (IsUp)
        {
            return;
        }

        _life++;
        Disk.Reopen();
        _log.Clear();
        _log.AddRange(Disk.Entries);
        _appliedIndex = LogIndex.None;
        var runs = new List<TermRun>();
        for (var i = 0; i < _log.Count; i++)
        {
            if (i == 0 || _log[i].Term != _log[i - 1].Term)
            {
                runs.Add(new TermRun(new LogIndex(i + 1), _log[i].Term));
            }
        }

        var initial = new RaftInitialState
        {
            HardState = Disk.HardState, LastIndex = new LogIndex(_log.Count), TermRuns = runs,
        };
        _raft = new RaftNode(
            _options, initial, index => EntryAt(index).SizeBytes, new Random(_world.Random.Next()), LocalMs);
        Say($"starts with {_log.Count} entries, {Disk.HardState}");
        _world.Network.ConnectAll(Id.Value);
        ScheduleTick(_life);
    }

    public void Crash()
    {
        if (!IsUp)
        {
            return;
        }

        Say("crashes");
        _life++;
        _raft = null;
        _isPaused = false;
        _whilePaused.Clear();
        _waiting.Clear();
        TearWrites();
        _slowness = 1;
        _world.Network.BreakAll(Id.Value);
    }

    /// <summary>The disk stalls; the flush that is under way keeps its pace.</summary>
    public void SlowDisk(int slowness) => _slowness = slowness;

    /// <summary>The disk has its usual pace again, for the flush that is under way too.</summary>
    public void HealDisk()
    {
        _slowness = 1;
        if (_underWay.Count > 0)
        {
            ScheduleFlush();
        }
    }

    /// <summary>As SIGSTOP: the process does nothing, the network and the disk go on.</summary>
    public void Pause()
    {
        if (IsUp && !_isPaused)
        {
            Say("pauses");
            _isPaused = true;
        }
    }

    public void Resume()
    {
        if (_isPaused)
        {
            Say("resumes");
            _isPaused = false;
            while (!_isPaused && _whilePaused.TryDequeue(out var action))
            {
                action();
            }
        }
    }

    public void Receive(Packet packet) => WhenRunning(raft =>
    {
        Trace(() => $"gets  {packet.Message}");
        _arriving = packet;
        raft.Step(packet.Message);
        Drain();
        _arriving = null;
    });

    public void TellUnreachable(NodeId peer) => WhenRunning(raft =>
    {
        raft.ReportUnreachable(peer);
        Drain();
    });

    public void TellReachable(NodeId peer) => WhenRunning(raft =>
    {
        raft.ReportReachable(peer);
        Drain();
    });

    public void Transfer(NodeId target) => WhenRunning(raft =>
    {
        if (raft.TryTransferLeadership(target))
        {
            Say($"hands leadership to {target}");
            Drain();
        }
    });

    /// <summary>A client's proposals, several before one Ready.</summary>
    public void Propose(int count) => WhenRunning(raft =>
    {
        for (; count > 0; count--)
        {
            var sizeBytes = _world.Random.Next(64, 600);
            if (raft.TryPropose(sizeBytes, out var index) != ProposeResult.Accepted)
            {
                break;
            }

            var value = _world.NextValue();
            Append(index, raft.Term, value, sizeBytes);
            _waiting.Add((index, value));
        }

        Drain();
    });

    private void WhenRunning(Action<RaftNode> action)
    {
        if (_isPaused)
        {
            var life = _life;
            _whilePaused.Enqueue(() =>
            {
                if (life == _life)
                {
                    WhenRunning(action);
                }
            });
        }
        else if (_raft is not null)
        {
            action(_raft);
        }
    }

    private void ScheduleTick(int life) => _world.Scheduler.After(1_000 + _world.Random.Next(9_000), () =>
    {
        if (life != _life)
        {
            return;
        }

        if (!_isPaused)
        {
            _raft!.Tick(LocalMs);
            Drain();
        }

        ScheduleTick(life);
    });

    private void Drain()
    {
        while (_raft!.HasReady)
        {
            var ready = _raft.TakeReady();
            if (ready.StateChanged)
            {
                Say($"is {_raft.Role} in term {_raft.Term}, leader {_raft.Leader}");
                _world.History.CheckLeader(this);
                if (IsLeader)
                {
                    _world.Faults.OnLeader(this);
                }
            }

            var entries = TakeEntries(ready);
            foreach (var message in ready.Messages)
            {
                Trace(() => $"sends {message}");
                _world.History.CheckRevealed(this, message);
                _world.Network.Send(new Packet(
                    message, [.. _log.Skip((int)message.LogIndex.Value).Take(message.EntryCount)]));
            }

            if (ready.PersistSequence != 0)
            {
                _writes.Enqueue(new DiskWrite(ready.PersistSequence, ready.HardState, ready.TruncateFrom, entries));
                StartWriting();
            }

            Apply(ready.CommitIndex);
        }
    }

    private List<Entry> TakeEntries(Ready ready)
    {
        if (ready.TruncateFrom is { } from && from.Value <= _log.Count)
        {
            Trace(() => $"truncates from {from}");
            _log.RemoveRange((int)from.Value - 1, _log.Count - (int)from.Value + 1);
        }

        for (var index = ready.AppendFirst; index <= ready.AppendLast; index = index.Next())
        {
            if (index == ready.Noop)
            {
                Append(index, _raft!.TermAt(index), Entry.NoopValue, LogEntry.OverheadBytes);
            }
            else if (index.Value > _log.Count)
            {
                var entry = _arriving!.Entries[index - _arriving.Message.LogIndex - 1];
                Append(index, entry.Term, entry.Value, entry.SizeBytes);
            }

            World.Check(_raft!.TermAt(index) == EntryAt(index).Term, $"node {Id} has the right entry at {index}");
        }

        World.Check(_log.Count == _raft!.LastIndex.Value, $"node {Id}'s log is as long as its node says");
        return ready.HasEntries
            ? _log.GetRange((int)ready.AppendFirst.Value - 1, (int)(ready.AppendLast - ready.AppendFirst) + 1)
            : [];
    }

    private void Append(LogIndex index, Term term, long value, int sizeBytes)
    {
        World.Check(index.Value == _log.Count + 1, $"node {Id} appends at its end");
        var entry = Entry.After(_log.Count == 0 ? 0 : _log[^1].Chain, term, value, sizeBytes);
        _log.Add(entry);
        _world.History.CheckAppended(this, index, entry);
    }

    private void Apply(LogIndex commitIndex)
    {
        for (; _appliedIndex < commitIndex; _appliedIndex = _appliedIndex.Next())
        {
            var index = _appliedIndex.Next();
            var entry = EntryAt(index);
            _world.History.CheckApplied(this, index, entry, _raft!.Term);
            if (_waiting.Remove((index, entry.Value)))
            {
                _world.History.Acknowledge(this, index, entry);
            }
        }
    }

    /// <summary>The writer takes everything that waits, and flushes once.</summary>
    private void StartWriting()
    {
        if (_underWay.Count > 0 || _writes.Count == 0)
        {
            return;
        }

        _underWay.AddRange(_writes);
        _writes.Clear();
        ScheduleFlush();
    }

    private void ScheduleFlush()
    {
        var flush = ++_flush;
        var maxUs = _world.Network.IsHealed ? HealthyFlushMaxUs : _world.Scenario.FlushMaxUs;
        _world.Scheduler.After(_world.Random.NextInt64(_world.Scenario.FlushMinUs, maxUs) * _slowness, () =>
        {
            if (flush == _flush)
            {
                FinishWriting();
            }
        });
    }

    private void FinishWriting()
    {
        foreach (var write in _underWay)
        {
            Disk.Write(write);
        }

        var sequence = _underWay[^1].Sequence;
        _underWay.Clear();
        WhenRunning(raft =>
        {
            Trace(() => $"flushed write {sequence}");
            raft.Persisted(sequence);
            Drain();
        });
        StartWriting();
    }

    private void TearWrites()
    {
        var whole = _world.Random.Next(_underWay.Count + 1);
        for (var i = 0; i < whole; i++)
        {
            Disk.Write(_underWay[i]);
        }

        if (whole < _underWay.Count)
        {
            Disk.Tear(_underWay[whole], _world.Random);
        }

        _flush++;
        _underWay.Clear();
        _writes.Clear();
    }

    private Entry EntryAt(LogIndex index) => _log[(int)index.Value - 1];

    private void Say(string what) => Trace(() => what);

    private void Trace(Func<string> what)
    {
        if (_world.Trace.IsOn)
        {
            _world.Trace.Write($"n{Id}", what());
        }
    }
}
