using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

public class AllocationTests
{
    private const int EntryBytes = 200;
    private readonly Queue<RaftMessage> _network = new();
    private readonly RaftNode[] _nodes;
    private readonly RaftNode _leader;

    public AllocationTests()
    {
        NodeId[] voters = [new(1), new(2), new(3)];
        _nodes = [.. voters.Select(id => new RaftNode(
            new RaftOptions { Id = id, Voters = voters },
            new RaftInitialState(),
            static _ => EntryBytes,
            new Random(id.Value),
            nowMs: 0))];
        for (var nowMs = 0; !_nodes.Any(static node => node.Role == RaftRole.Leader); nowMs += 10)
        {
            Assert.True(nowMs < 60_000, "three nodes elect a leader");
            Array.ForEach(_nodes, node => node.Tick(nowMs));
            Settle();
        }

        _leader = _nodes.Single(static node => node.Role == RaftRole.Leader);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(64)]
    public void Entries_cost_three_nodes_no_memory(int entriesPerMessage)
    {
        Commit(100, entriesPerMessage);

        // The runtime takes memory of its own now and then, when it compiles a method anew. What an entry costs would
        // be seen each time.
        var least = long.MaxValue;
        for (var round = 0; round < 5 && least > 0; round++)
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            Commit(1_000, entriesPerMessage);
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        Assert.Equal(0, least);
        Assert.All(_nodes, node => Assert.Equal(_leader.LastIndex, node.CommitIndex));
        Assert.True(_leader.LastIndex.Value >= 1_100 * entriesPerMessage);
    }

    private void Commit(int messages, int entriesPerMessage)
    {
        for (var i = 0; i < messages; i++)
        {
            for (var entry = 0; entry < entriesPerMessage; entry++)
            {
                Invariant.Check(
                    _leader.TryPropose(EntryBytes, out _) == ProposeResult.Accepted, "the leader takes proposals");
            }

            Settle();
        }
    }

    /// <summary>Writes and delivers until nobody has anything left to do.</summary>
    private void Settle()
    {
        var isBusy = true;
        while (isBusy)
        {
            isBusy = false;
            foreach (var node in _nodes)
            {
                isBusy |= TryWork(node);
            }

            while (_network.TryDequeue(out var message))
            {
                isBusy = true;
                _nodes[message.To.Value - 1].Step(message);
                TryWork(_nodes[message.To.Value - 1]);
            }
        }
    }

    private bool TryWork(RaftNode node)
    {
        if (!node.HasReady)
        {
            return false;
        }

        var ready = node.TakeReady();
        foreach (var message in ready.Messages)
        {
            _network.Enqueue(message);
        }

        if (ready.PersistSequence > 0)
        {
            node.Persisted(ready.PersistSequence);
        }

        return true;
    }
}
