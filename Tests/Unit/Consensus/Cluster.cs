using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>
/// Replicas and a network in one thread on virtual time. After every round it checks that logs and applied entries
/// agree.
/// </summary>
internal sealed class Cluster
{
    private readonly Dictionary<Term, NodeId> _leaders = [];
    private readonly HashSet<(int, int)> _cut = [];

    /// <summary>Replicas numbered from 1; the group begins with the first ones as voters, 0: with all.</summary>
    public Cluster(int size, int seed = 1, Func<RaftOptions, RaftOptions>? configure = null, int voters = 0)
    {
        voters = voters == 0 ? size : voters;
        Replicas = [.. Enumerable.Range(1, size).Select(id => new Replica(id, voters, seed + id, 0, configure))];
    }

    public Cluster(IEnumerable<Replica> replicas)
    {
        Replicas = [.. replicas];
    }

    public Replica[] Replicas { get; }

    public long NowMs { get; private set; }

    public long StepMs { get; set; } = 5;

    /// <summary>Messages for which this holds are lost.</summary>
    public Func<RaftMessage, bool> Lose { get; set; } = _ => false;

    public IEnumerable<Replica> Leaders => Replicas.Where(r => r.IsUp && r.Node.Role == RaftRole.Leader);

    public Replica this[int id] => Replicas[id - 1];

    public void Cut(int left, int right)
    {
        _cut.Add((left, right));
        _cut.Add((right, left));
    }

    public void Isolate(int id)
    {
        foreach (var other in Replicas.Where(r => r.Id.Value != id))
        {
            Cut(id, other.Id.Value);
        }
    }

    public void Heal() => _cut.Clear();

    public void Restart(int id) => this[id].Restart(NowMs);

    /// <summary>Delivers what is under way, and what that causes, until all is quiet.</summary>
    public void Pump()
    {
        bool any;
        do
        {
            any = false;
            foreach (var replica in Replicas)
            {
                var sent = replica.Sent.ToArray();
                replica.Sent.Clear();
                foreach (var packet in sent)
                {
                    any = true;
                    Deliver(packet);
                }
            }
        }
        while (any);

        Check();
    }

    public void Run(long milliseconds)
    {
        for (var end = NowMs + milliseconds; NowMs < end;)
        {
            NowMs += StepMs;
            foreach (var replica in Replicas.Where(r => r.IsUp))
            {
                replica.Tick(NowMs);
            }

            Pump();
        }
    }

    public void RunUntil(Func<bool> condition, string what, long deadlineMs = 10_000)
    {
        for (var end = NowMs + deadlineMs; !condition(); Run(StepMs))
        {
            Assert.True(NowMs < end, $"{what} within {deadlineMs} ms");
        }
    }

    /// <summary>Waits for one leader that every running replica follows and whose no-op has committed.</summary>
    public Replica Elect()
    {
        RunUntil(
            () => Leaders.Count() == 1
                && Replicas.Where(r => r.IsUp).All(r => r.Node.Leader == Leaders.Single().Id)
                && Leaders.Single().Node.CommitIndex == Leaders.Single().Node.LastIndex,
            "a leader");
        return Leaders.Single();
    }

    /// <summary>Makes a chosen replica the leader, by letting only its clock run; the others' clocks follow.</summary>
    public Replica Elect(int id)
    {
        for (var end = NowMs + 10_000; this[id].Node.Role != RaftRole.Leader;)
        {
            NowMs += 5;
            Assert.True(NowMs < end, $"replica {id} leads");
            this[id].Tick(NowMs);
            Pump();
        }

        NowMs = Math.Min(this[id].Node.NextDeadlineMs, NowMs + 100);
        foreach (var other in Replicas.Where(r => r.IsUp && r.Id.Value != id))
        {
            other.Tick(NowMs);
            other.Sent.Clear();
        }

        this[id].Tick(NowMs);
        Pump();
        return this[id];
    }

    private void Deliver(Packet packet)
    {
        var to = this[packet.Message.To.Value];
        var isCut = _cut.Contains((packet.Message.From.Value, packet.Message.To.Value));
        if (to.IsUp && !isCut && !Lose(packet.Message))
        {
            to.Receive(packet);
        }
    }

    private void Check()
    {
        foreach (var leader in Leaders)
        {
            _leaders.TryAdd(leader.Node.Term, leader.Id);
            Assert.Equal(_leaders[leader.Node.Term], leader.Id);
        }

        var longest = Replicas.MaxBy(r => r.Applied.Count)!.Applied;
        foreach (var replica in Replicas)
        {
            Assert.Equal(longest.Take(replica.Applied.Count), replica.Applied);
            Assert.Equal(replica.Node.LastIndex.Value, replica.Log.Count);
        }
    }
}
