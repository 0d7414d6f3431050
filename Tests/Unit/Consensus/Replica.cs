using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>What an entry of the tests holds.</summary>
internal readonly record struct Item(Term Term, int Value);

/// <summary>A message with the entries that it carries.</summary>
internal sealed record Packet(RaftMessage Message, Item[] Items);

/// <summary>
/// One node with a disk in memory. Writes finish at once, or, with AutoPersist off, when the test says so.
/// </summary>
internal sealed class Replica
{
    private readonly Queue<Write> _writes = new();
    private readonly List<Item> _disk = [];
    private readonly int _seed;
    private HardState _hardState;
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
        for (var i = 0; i < _disk.Count; i++)
        {
            if (i == 0 || _disk[i].Term != _disk[i - 1].Term)
            {
                runs.Add(new TermRun(new LogIndex(i + 1), _disk[i].Term));
            }
        }

        var initial = new RaftInitialState
        {
            HardState = _hardState,
            LastIndex = new LogIndex(_disk.Count),
            TermRuns = runs,
        };
        Node = new RaftNode(Options, initial, _ => 100, new Random(_seed), nowMs);
        return Node;
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
        if (packet.Message.Kind == RaftMessageKind.AppendEntries)
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
            if (ready.TruncateFrom is { } from && Log.Count >= from.Value)
            {
                Log.RemoveRange((int)from.Value - 1, Log.Count - (int)from.Value + 1);
            }

            var items = ready.HasEntries ? ItemsToAppend(ready) : [];
            if (ready.PersistSequence != 0)
            {
                _writes.Enqueue(new Write(ready.PersistSequence, ready.HardState, ready.TruncateFrom, items));
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
        _hardState = write.HardState ?? _hardState;
        if (write.TruncateFrom is { } from && _disk.Count >= from.Value)
        {
            _disk.RemoveRange((int)from.Value - 1, _disk.Count - (int)from.Value + 1);
        }

        _disk.AddRange(write.Items);
        if (report)
        {
            Node.Persisted(write.Sequence);
            Drain();
        }
    }

    public void FinishWrites()
    {
        while (_writes.Count > 0)
        {
            FinishWrite();
        }
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
            else if (index.Value > Log.Count)
            {
                Log.Add(_arriving[index - _arrivingFirst]);
            }

            Assert.Equal(Node.TermAt(index), Log[(int)index.Value - 1].Term);
        }

        return Log.GetRange((int)ready.AppendFirst.Value - 1, (int)(ready.AppendLast - ready.AppendFirst) + 1);
    }

    private Packet ToPacket(RaftMessage message) =>
        new(message, [.. Log.Skip((int)message.LogIndex.Value).Take(message.EntryCount)]);

    private sealed record Write(long Sequence, HardState? HardState, LogIndex? TruncateFrom, List<Item> Items);
}
