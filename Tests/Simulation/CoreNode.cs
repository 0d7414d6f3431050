using Broker.Consensus;
using Broker.Domain;

namespace Broker.Tests.Simulation;

/// <summary>A node that is only the real RaftNode, over the simplest disk: what fails here is Raft's fault.</summary>
internal sealed class CoreNode(SimulatedGroup group, SimulatedMachine machine) : SimulatedNode(group, machine)
{
    private readonly ModelDisk _disk = new();
    private readonly List<Entry> _log = [];
    private readonly Queue<DiskWrite> _writes = new();
    private readonly List<DiskWrite> _underWay = [];
    private readonly HashSet<(LogIndex Index, long Value)> _waiting = [];
    private LogIndex _appliedIndex;
    private RaftNode? _raft;
    private Packet? _arriving;

    public override bool IsLeader => _raft?.Role == RaftRole.Leader;

    public override Term Term => _raft?.Term ?? _disk.HardState.Term;

    public override LogIndex LastIndex => new(_log.Count);

    public override LogIndex AppliedIndex => _appliedIndex;

    public override HardState DurableHardState => _disk.HardState;

    public override bool IsWriting => _underWay.Count > 0;

    private long LocalMs => (long)(World.Scheduler.NowUs * ClockRate / 1000);

    public override Entry? EntryAt(LogIndex index) => At(_log, index);

    public override Entry? DurableAt(LogIndex index) => At(_disk.Entries, index);

    public override void ReadLog(List<Entry> into) => into.AddRange(_log);

    public override void Receive(Packet packet) => WhenRunning(() =>
    {
        Trace(() => $"gets  {packet.Message}");
        _arriving = packet;
        _raft!.Step(packet.Message);
        Drain();
        _arriving = null;
    });

    public override void TellUnreachable(NodeId peer) => WhenRunning(() =>
    {
        _raft!.ReportUnreachable(peer);
        Drain();
    });

    public override void TellReachable(NodeId peer) => WhenRunning(() =>
    {
        _raft!.ReportReachable(peer);
        Drain();
    });

    public override void Transfer(NodeId target) => WhenRunning(() =>
    {
        if (_raft!.TryTransferLeadership(target))
        {
            Say($"hands leadership to {target}");
            Drain();
        }
    });

    public override void Propose(int count) => WhenRunning(() =>
    {
        for (; count > 0; count--)
        {
            var sizeBytes = World.Random.Next(64, 600);
            if (_raft!.TryPropose(sizeBytes, out var index) != ProposeResult.Accepted)
            {
                break;
            }

            var value = World.NextValue();
            Append(index, _raft.Term, value, sizeBytes);
            _waiting.Add((index, value));
        }

        Drain();
    });

    protected override void OnStart()
    {
        _log.Clear();
        _log.AddRange(_disk.Entries);
        _appliedIndex = LogIndex.None;
        var runs = new List<TermRun>();
        for (var i = 0; i < _log.Count; i++)
        {
            if (i == 0 || _log[i].Term != _log[i - 1].Term)
            {
                runs.Add(new TermRun(new LogIndex(i + 1), _log[i].Term));
            }
        }

        var initial = new RaftInitialState { HardState = _disk.HardState, LastIndex = LastIndex, TermRuns = runs };
        var random = new Random(World.Random.Next());
        _raft = new RaftNode(Options, initial, index => Logged(index).SizeBytes, random, LocalMs)
        {
            AwaitsCommits = IsAwaited,
        };
        Say($"starts with {_log.Count} entries, {_disk.HardState}");
    }

    protected override void OnCrash()
    {
        _raft = null;
        _appliedIndex = LogIndex.None;
        _waiting.Clear();
        var whole = World.Random.Next(_underWay.Count + 1);
        for (var i = 0; i < whole; i++)
        {
            Write(_underWay[i]);
        }

        if (whole < _underWay.Count)
        {
            World.Figures.Count(Figure.CrashWithinWrite);
            var before = _disk.HardState;
            _disk.Tear(_underWay[whole], World.Random);
            History.CheckHardState(this, before, _disk.HardState);
        }

        _underWay.Clear();
        _writes.Clear();
    }

    protected override void OnTick()
    {
        _raft!.Tick(LocalMs);
        Drain();
    }

    protected override void FinishWriting()
    {
        foreach (var write in _underWay)
        {
            Write(write);
        }

        var sequence = _underWay[^1].Sequence;
        _underWay.Clear();
        EndFlush();
        WhenRunning(() =>
        {
            Trace(() => $"flushed write {sequence}");
            _raft!.Persisted(sequence);
            Drain();
        });
        StartWriting();
    }

    private static Entry? At(IReadOnlyList<Entry> entries, LogIndex index) =>
        index.Value >= 1 && index.Value <= entries.Count ? entries[(int)index.Value - 1] : null;

    private Entry Logged(LogIndex index) => _log[(int)index.Value - 1];

    private void Drain()
    {
        while (_raft!.HasReady)
        {
            var ready = _raft.TakeReady();
            if (ready.StateChanged)
            {
                Say($"is {_raft.Role} in term {_raft.Term}, leader {_raft.Leader}");
                Group.NoteState(this);
            }

            var entries = TakeEntries(ready);
            foreach (var message in ready.Messages)
            {
                Trace(() => $"sends {message}");
                Group.History.CheckRevealed(this, message);
                var carried = message.EntryCount == 0
                    ? []
                    : _log.GetRange((int)message.LogIndex.Value, message.EntryCount).ToArray();
                World.Network.Send(new Packet(GroupId, message, carried, null));
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
        if (ready.TruncateFrom is { } from && from <= LastIndex)
        {
            Trace(() => $"truncates from {from}");
            for (var index = from; index <= LastIndex; index = index.Next())
            {
                Group.History.CheckTruncated(this, index, Logged(index));
            }

            _log.RemoveRange((int)from.Value - 1, _log.Count - (int)from.Value + 1);
        }

        for (var index = ready.AppendFirst; index <= ready.AppendLast; index = index.Next())
        {
            if (index == ready.Noop)
            {
                Append(index, _raft!.TermAt(index), Entry.NoopValue, LogEntry.OverheadBytes);
            }
            else if (index > LastIndex)
            {
                var entry = _arriving!.Entries[index - _arriving.Message.LogIndex - 1];
                Append(index, entry.Term, entry.Value, entry.SizeBytes);
            }

            World.Check(_raft!.TermAt(index) == Logged(index).Term, $"node {Id} has the right entry at {index}");
        }

        World.Check(LastIndex == _raft!.LastIndex, $"node {Id}'s log is as long as its node says");
        return ready.HasEntries
            ? _log.GetRange((int)ready.AppendFirst.Value - 1, (int)(ready.AppendLast - ready.AppendFirst) + 1)
            : [];
    }

    private void Append(LogIndex index, Term term, long value, int sizeBytes)
    {
        World.Check(index == LastIndex.Next(), $"node {Id} appends at its end");
        var entry = Entry.After(_log.Count == 0 ? 0 : _log[^1].Chain, term, value, sizeBytes);
        _log.Add(entry);
        Group.History.CheckAppended(this, index, entry);
    }

    private void Write(DiskWrite write)
    {
        for (var i = write.TruncateFrom?.Value ?? long.MaxValue; i <= _disk.Entries.Count; i++)
        {
            Group.History.CheckRemoved(this, new LogIndex(i), _disk.Entries[(int)i - 1]);
        }

        var before = _disk.HardState;
        _disk.Write(write);
        History.CheckHardState(this, before, _disk.HardState);
    }

    private void Apply(LogIndex commitIndex)
    {
        for (; _appliedIndex < commitIndex; _appliedIndex = _appliedIndex.Next())
        {
            var index = _appliedIndex.Next();
            var entry = Logged(index);
            Group.History.CheckApplied(this, index, entry, _raft!.Term);
            if (_waiting.Remove((index, entry.Value)))
            {
                Group.History.Acknowledge(this, index, entry, entry.Value);
            }
        }
    }

    /// <summary>The writer takes everything that waits, and flushes once.</summary>
    private void StartWriting()
    {
        if (_underWay.Count == 0 && _writes.Count > 0)
        {
            _underWay.AddRange(_writes);
            _writes.Clear();
            Machine.Disk.Submit(this);
        }
    }
}
