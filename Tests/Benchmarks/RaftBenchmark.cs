using BenchmarkDotNet.Attributes;
using Broker.Consensus;
using Broker.Domain;

namespace Broker.Tests.Benchmarks;

/// <summary>
/// What consensus costs itself: proposals of a leader until they have committed on all three replicas of a group in
/// memory, whose disks and network take no time. Time and bytes per entry, of the three nodes together.
/// </summary>
[MemoryDiagnoser]
public class RaftBenchmark
{
    private const int EntriesPerInvoke = 1024;
    private const int EntryBytes = 200;
    private readonly NodeId[] _voters = [new(1), new(2), new(3)];
    private readonly Queue<RaftMessage> _network = new();
    private RaftNode[] _nodes = [];
    private RaftNode? _leader;

    /// <summary>Entries that gather while the disk is busy, and leave in one Ready.</summary>
    [Params(1, 64)]
    public int EntriesPerReady { get; set; }

    [GlobalSetup]
    public void Elect()
    {
        _nodes = [.. _voters.Select(id => new RaftNode(
            new RaftOptions { Id = id, Voters = _voters },
            new RaftInitialState(),
            static _ => EntryBytes,
            new Random(id.Value),
            nowMs: 0))];
        for (var nowMs = 0L; _leader is null; nowMs += 10)
        {
            Invariant.Check(nowMs < 60_000, "three nodes elect a leader");
            foreach (var node in _nodes)
            {
                node.Tick(nowMs);
            }

            Settle();
            _leader = Array.Find(_nodes, static node => node.Role == RaftRole.Leader);
        }
    }

    [Benchmark(OperationsPerInvoke = EntriesPerInvoke)]
    public void Commit()
    {
        for (var done = 0; done < EntriesPerInvoke; done += EntriesPerReady)
        {
            for (var i = 0; i < EntriesPerReady; i++)
            {
                Invariant.Check(
                    _leader!.TryPropose(EntryBytes, out _) == ProposeResult.Accepted, "the leader takes proposals");
            }

            Settle();
        }

        Invariant.Check(_leader!.CommitIndex == _leader.LastIndex, "what was proposed has committed");
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
                isBusy |= Work(node);
            }

            while (_network.TryDequeue(out var message))
            {
                isBusy = true;
                var node = _nodes[message.To.Value - 1];
                node.Step(message);
                Work(node);
            }
        }
    }

    private bool Work(RaftNode node)
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
