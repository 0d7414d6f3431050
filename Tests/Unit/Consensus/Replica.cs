using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>What an entry of the tests holds.</summary>
internal readonly record struct Item(Term Term, int Value, GroupConfiguration? Configuration = null);

/// <summary>A message with the entries that it carries; a snapshot carries all that it stands for.</summary>
internal sealed record Packet(RaftMessage Message, Item[] Items);

/// <summary>How much a replica knows of what its log has lost.</summary>
internal enum Notice
{
    None,
    Doubt,
    Proof,
}

/// <summary>
/// One node with a disk in memory. Writes finish at once, or, with AutoPersist off, when the test says so. A snapshot
/// is the list of all entries up to its position, so that log and disk always have index 1 first, and the node alone
/// forgets what lies below its base.
/// </summary>
internal sealed class Replica
{
    private readonly Queue<Write> _writes = new();
    private readonly List<Item> _disk = [];
    private int _seed;
    private HardState _hardState;
    private GroupConfiguration? _configuration;
    private GroupConfiguration? _previousConfiguration;
    private LogIndex _base;
    private LogPosition _doubt;
    private Term _ledTerm = new(-1);
    private Item[] _arriving = [];
    private LogIndex _arrivingFirst;

    public Replica(
        int id, int voters, int seed = 1, long nowMs = 0, Func<RaftOptions, RaftOptions>? configure = null,
        HardState hardState = default, IEnumerable<int>? logTerms = null)
    {
        _seed = seed;
        _hardState = hardState;
        var options = new RaftOptions
        {
            Id = new NodeId(id),
            Voters = [.. Enumerable.Range(1, voters).Select(voter => new NodeId(voter))],
        };
        Options = configure is null ? options : configure(options);
        _disk.AddRange((logTerms ?? []).Select((term, i) => new Item(new Term(term), -1 - i)));
        Node = Restart(nowMs);
    }

    public RaftOptions Options { get; }

    public RaftNode Node { get; private set; }

    public NodeId Id => Options.Id;

    /// <summary>What the node has sent and nobody has taken.</summary>
    public List<Packet> Sent { get; } = [];

    /// <summary>The log as the node has it in memory, index 1 first.</summary>
    public List<Item> Log { get; } = [];

    public List<Item> Applied { get; } = [];

    public bool AutoPersist { get; set; } = true;

    public bool IsUp { get; private set; } = true;

    public int PendingWrites => _writes.Count;

    public HardState DurableHardState => _hardState;

    public LogPosition DurableFence { get; private set; }

    public GroupConfiguration? DurableConfiguration => _configuration;

    /// <summary>The answers to reads.</summary>
    public List<ReadResult> Reads { get; } = [];

    /// <summary>Snapshots that replaced the log.</summary>
    public int Installed { get; private set; }

    public IReadOnlyList<Item> DurableLog => _disk;

    /// <summary>Loses everything that was not durable.</summary>
    public void Crash()
    {
        IsUp = false;
        _writes.Clear();
        Sent.Clear();
    }

    public RaftNode Restart(long nowMs)
    {
        IsUp = true;
        Log.Clear();
        Log.AddRange(_disk);
        Applied.Clear();
        var runs = new List<TermRun>();
        var first = (int)_base.Value;
        for (var i = first; i < _disk.Count; i++)
        {
            if (i == first || _disk[i].Term != _disk[i - 1].Term)
            {
                runs.Add(new TermRun(new LogIndex(i + 1), _disk[i].Term));
            }
        }

        var initial = new RaftInitialState
        {
            HardState = _hardState,
            Base = PositionOnDisk(_base),
            LastIndex = new LogIndex(_disk.Count),
            TermRuns = runs,
            CommitIndex = _base,
            Configuration = _configuration,
            PreviousConfiguration = _previousConfiguration,
            Fence = DurableFence,
            Doubt = _doubt,
            HasLedLastTerm = _disk.Count > 0 && _disk[^1].Term == _ledTerm
                && DurableFence == LogPosition.None && _doubt == LogPosition.None,
        };
        Node = new RaftNode(Options, initial, _ => 100, new Random(_seed), nowMs);
        return Node;
    }

    /// <summary>The disk is gone, log and vote and all; what stays is the knowledge that there was one.</summary>
    public void LoseDisk(int newSeed = 0)
    {
        Crash();
        _seed = newSeed == 0 ? _seed : newSeed;
        _disk.Clear();
        _base = LogIndex.None;
        _hardState = HardState.Lost;
        _configuration = _previousConfiguration = null;
        DurableFence = LogPosition.None;
    }

    /// <summary>
    /// The log is damaged after an index, and cut there: its end becomes the fence, if anything proves it.
    /// </summary>
    /// <param name="keep">How many entries stay.</param>
    /// <param name="notice">What proves that there were more.</param>
    /// <param name="beyond">How far the fence is above what there was: the file that knew is cut short.</param>
    public void LoseEnd(int keep, Notice notice = Notice.Proof, int beyond = 0)
    {
        Crash();
        var end = PositionOnDisk(new LogIndex(_disk.Count));
        end = end with { Index = end.Index + beyond };
        DurableFence = notice == Notice.Proof ? end : DurableFence;
        _doubt = notice == Notice.Doubt ? end : LogPosition.None;
        _disk.RemoveRange(keep, _disk.Count - keep);
    }

    /// <summary>Drops the log through an index that is committed here.</summary>
    public void Compact(LogIndex through)
    {
        Node.CompactThrough(through);
        _base = LogIndex.Max(_base, through);
        Drain();
    }

    public ProposeResult Change(MembershipChangeKind kind, int node)
    {
        var result = Node.TryChangeConfiguration(new MembershipChange(kind, new NodeId(node)), out _);
        Drain();
        return result;
    }

    public bool ForceRecovery(params int[] others)
    {
        var isBegun = Node.TryForceRecovery([.. others.Select(static other => new NodeId(other))], Term.None);
        Drain();
        return isBegun;
    }

    public LogIndex Propose(int value, int sizeBytes = 100)
    {
        Assert.Equal(ProposeResult.Accepted, Node.TryPropose(sizeBytes, out var index));
        Log.Add(new Item(Node.Term, value));
        Drain();
        return index;
    }

    public void Tick(long nowMs)
    {
        Node.Tick(nowMs);
        Drain();
    }

    public void Receive(Packet packet)
    {
        if (packet.Message.Kind is RaftMessageKind.AppendEntries or RaftMessageKind.InstallSnapshot)
        {
            _arriving = packet.Items;
            _arrivingFirst = packet.Message.LogIndex.Next();
        }

        Node.Step(packet.Message);
        Drain();
    }

    public void Receive(RaftMessage message) =>
        Receive(new Packet(message, [.. message.EntryTerms.Select(term => new Item(term, 0))]));

    /// <summary>Takes what the node has ready, until it has nothing more.</summary>
    public void Drain()
    {
        while (Node.HasReady)
        {
            var ready = Node.TakeReady();
            _ledTerm = Node.Role == RaftRole.Leader ? Node.Term : _ledTerm;
            Reads.AddRange(ready.Reads);
            if (ready.Snapshot is { } snapshot)
            {
                Assert.Equal(snapshot.Index.Value, _arriving.Length);
                Assert.NotNull(ready.Configuration);
                Installed++;
                Log.Clear();
                Log.AddRange(_arriving);
            }

            if (ready.TruncateFrom is { } from && Log.Count >= from.Value)
            {
                Log.RemoveRange((int)from.Value - 1, Log.Count - (int)from.Value + 1);
            }

            var items = ready.HasEntries ? ItemsToAppend(ready) : [];
            if (ready.PersistSequence != 0)
            {
                _writes.Enqueue(WriteOf(ready, items));
            }

            Sent.AddRange(ready.Messages.Select(ToPacket));
            for (var i = Applied.Count; i < ready.CommitIndex.Value; i++)
            {
                Applied.Add(Log[i]);
            }

            while (AutoPersist && _writes.Count > 0)
            {
                FinishWrite();
            }
        }
    }

    /// <summary>Makes the oldest write durable, and tells the node unless told not to.</summary>
    public void FinishWrite(bool report = true)
    {
        var write = _writes.Dequeue();
        Apply(write);
        if (report)
        {
            Node.Persisted(write.Sequence);
            Drain();
        }
    }

    private void Apply(Write write)
    {
        _hardState = write.HardState ?? _hardState;
        DurableFence = write.Fence ?? DurableFence;
        if (write.Configuration is { } configuration)
        {
            (_configuration, _previousConfiguration) = (configuration, write.PreviousConfiguration);
        }

        if (write.Snapshot is { } snapshot)
        {
            _disk.Clear();
            _disk.AddRange(snapshot);
            _base = new LogIndex(_disk.Count);
        }

        if (write.TruncateFrom is { } from && _disk.Count >= from.Value)
        {
            _disk.RemoveRange((int)from.Value - 1, _disk.Count - (int)from.Value + 1);
        }

        _disk.AddRange(write.Items);
    }

    public void FinishWrites()
    {
        while (_writes.Count > 0)
        {
            FinishWrite();
        }
    }

    /// <summary>
    /// Of the oldest write only what goes into the vote file reaches the disk before the lights go out, a truncation
    /// with it; a snapshot's configuration comes with the snapshot.
    /// </summary>
    public void TearWrite()
    {
        var write = _writes.Dequeue();
        var torn = write with { Items = [], Snapshot = null };
        Apply(write.Snapshot is null ? torn : torn with { Configuration = null, TruncateFrom = null, Fence = null });
        Crash();
    }

    /// <summary>Takes what was sent.</summary>
    public RaftMessage[] TakeSent()
    {
        var sent = Sent.Select(packet => packet.Message).ToArray();
        Sent.Clear();
        return sent;
    }

    /// <summary>Takes what was sent and asserts that it is one message of one kind.</summary>
    public RaftMessage TakeOnly(RaftMessageKind kind)
    {
        var message = Assert.Single(TakeSent());
        Assert.Equal(kind, message.Kind);
        return message;
    }

    private List<Item> ItemsToAppend(Ready ready)
    {
        for (var index = ready.AppendFirst; index <= ready.AppendLast; index = index.Next())
        {
            if (ready.Noop == index)
            {
                Log.Insert((int)index.Value - 1, new Item(Node.TermAt(index), 0));
            }
            else if (ready.AppendedConfiguration is { } configuration && configuration.Index == index)
            {
                Log.Insert((int)index.Value - 1, new Item(Node.TermAt(index), 0, configuration));
            }
            else if (index.Value > Log.Count)
            {
                Log.Add(_arriving[index - _arrivingFirst]);
            }

            Assert.Equal(Node.TermAt(index), Log[(int)index.Value - 1].Term);
        }

        return Log.GetRange((int)ready.AppendFirst.Value - 1, (int)(ready.AppendLast - ready.AppendFirst) + 1);
    }

    private LogPosition PositionOnDisk(LogIndex index) =>
        index == LogIndex.None ? LogPosition.None : new LogPosition(index, _disk[(int)index.Value - 1].Term);

    private Write WriteOf(Ready ready, List<Item> items) => new(
        ready.PersistSequence, ready.HardState, ready.TruncateFrom, items, ready.Configuration,
        ready.PreviousConfiguration, ready.Fence,
        ready.Snapshot is { } snapshot ? Log.GetRange(0, (int)snapshot.Index.Value) : null);

    private Packet ToPacket(RaftMessage message)
    {
        if (message.Kind == RaftMessageKind.InstallSnapshot)
        {
            var items = Log.GetRange(0, (int)message.LogIndex.Value).ToArray();
            var latest = items.LastOrDefault(item => item.Configuration is not null).Configuration;
            return new Packet(
                With(message, [latest ?? new GroupConfiguration(LogIndex.None, Options.Voters, [])]), items);
        }

        Item[] carried = [.. Log.Skip((int)message.LogIndex.Value).Take(message.EntryCount)];
        GroupConfiguration[] configurations =
            [.. carried.Select(item => item.Configuration).OfType<GroupConfiguration>()];
        return new Packet(configurations.Length == 0 ? message : With(message, configurations), carried);
    }

    /// <summary>What the mapper of the wire does: it finds the configurations among what a message carries.</summary>
    private static RaftMessage With(RaftMessage message, GroupConfiguration[] configurations) => new()
    {
        Kind = message.Kind,
        From = message.From,
        To = message.To,
        Term = message.Term,
        LogIndex = message.LogIndex,
        LogTerm = message.LogTerm,
        CommitIndex = message.CommitIndex,
        Context = message.Context,
        EntryCount = message.EntryCount,
        EntryTerms = message.EntryTerms,
        Configurations = configurations,
    };

    private sealed record Write(
        long Sequence, HardState? HardState, LogIndex? TruncateFrom, List<Item> Items,
        GroupConfiguration? Configuration, GroupConfiguration? PreviousConfiguration, LogPosition? Fence,
        List<Item>? Snapshot);
}
