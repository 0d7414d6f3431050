using System.Buffers;
using Broker.Consensus;
using Broker.Domain;
using Broker.Replication;
using Broker.Tests.Unit.Topics;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Replication;

/// <summary>One group of real replicas on virtual time.</summary>
internal sealed class TestGroup
{
    public const string Topic = "orders";

    private static readonly TimeSpan StepTime = TimeSpan.FromMilliseconds(10);

    private readonly List<(NodeId From, NodeId To, Action<TestReplica> Arrive)> _network = [];
    private readonly HashSet<(NodeId From, NodeId To)> _cut = [];
    private int _published;

    public TestGroup(int count, bool keepsVoters = true)
    {
        Voters = [.. Enumerable.Range(1, count).Select(number => new NodeId(number))];
        DesiredMembers = keepsVoters ? new DesiredMembers(Voters, []) : null;
        Replicas = [.. Enumerable.Range(1, count).Select(number => new TestReplica(this, number))];
        foreach (var replica in Replicas)
        {
            replica.Start();
        }
    }

    public ManualTime Time { get; } = new();

    public IReadOnlyList<NodeId> Voters { get; }

    public DesiredMembers? DesiredMembers { get; }

    public IReadOnlyList<TestReplica> Replicas { get; }

    public TestReplica this[int number] => Replicas[number - 1];

    public TestReplica? Leader => Replicas
        .Where(replica => replica.IsUp && replica.Status.Role == RaftRole.Leader)
        .MaxBy(replica => replica.Status.Term);

    public void Step()
    {
        Time.Advance(StepTime);
        var arriving = _network.ToList();
        _network.Clear();
        foreach (var (from, to, arrive) in arriving)
        {
            if (!_cut.Contains((from, to)) && this[to.Value].IsUp)
            {
                arrive(this[to.Value]);
            }
        }

        foreach (var replica in Replicas)
        {
            replica.Step();
        }
    }

    public void Run(TimeSpan time)
    {
        for (var passed = TimeSpan.Zero; passed < time; passed += StepTime)
        {
            Step();
        }
    }

    public void RunUntil(Func<bool> condition, string what, int seconds = 60)
    {
        for (var i = 0; i < seconds * 100; i++)
        {
            if (condition())
            {
                return;
            }

            Step();
        }

        var states = Replicas.Where(replica => replica.IsUp).Select(replica => $"{replica.Id}: {replica.Status}");
        Assert.Fail($"In {seconds} s it did not come about that {what}.\n{string.Join('\n', states)}");
    }

    /// <summary>Steps until a task is done, whose continuations run on threads of the pool in real time.</summary>
    public async Task<T> RunUntilDoneAsync<T>(Task<T> task)
    {
        for (var i = 0; i < 5_000 && !task.IsCompleted; i++)
        {
            Step();
            await Task.WhenAny(task, Task.Delay(1, TestContext.Current.CancellationToken));
        }

        Assert.True(task.IsCompleted, "the task is done");
        return await task;
    }

    public TestReplica RunUntilLed()
    {
        RunUntil(() => Leader is not null, "somebody leads");
        return Leader!;
    }

    /// <summary>All that are up have applied all that the leader has committed.</summary>
    public void RunUntilEven()
    {
        RunUntilLed();
        RunUntil(
            () => Leader is { } leader && Replicas.Where(replica => replica.IsUp).All(
                replica => replica.Status.AppliedIndex == leader.Status.LastIndex),
            "all replicas are even");
        var up = Replicas.Where(replica => replica.IsUp).ToList();
        Assert.All(up, replica => Assert.Equal(up[0].Machine.StateHash, replica.Machine.StateHash));
    }

    /// <summary>Publishes batches one after the other, each acknowledged; their bytes are all different.</summary>
    public List<byte[]> Publish(int count, int bytes = 500, string topic = Topic)
    {
        var batches = new List<byte[]>();
        for (var i = 0; i < count; i++)
        {
            var batch = new byte[bytes];
            new Random(++_published).NextBytes(batch);
            Propose(Entries.PublishCommand(topic, batch));
            batches.Add(batch);
        }

        return batches;
    }

    /// <summary>Removes what lies before an offset from sight; -1: everything.</summary>
    public void Purge(long before = -1, string topic = Topic)
    {
        var command = new ArrayBufferWriter<byte>();
        TopicCommands.WritePurgeTopic(command, topic, before);
        Propose(command.WrittenSpan.ToArray());
    }

    public CommandResult Propose(byte[] command)
    {
        while (true)
        {
            var proposal = new CommandProposal(command);
            RunUntilLed().Group.Propose(proposal);
            RunUntil(() => proposal.IsAnswered, "a command is answered");
            if (proposal.Result is { } result)
            {
                Assert.Equal(RefusalCode.None, result.Code);
                return result;
            }

            Step();
        }
    }

    public void Cut(TestReplica one)
    {
        foreach (var other in Replicas.Where(other => other != one))
        {
            _cut.Add((one.Id, other.Id));
            _cut.Add((other.Id, one.Id));
        }
    }

    public void Heal() => _cut.Clear();

    /// <summary>False when it cannot arrive.</summary>
    public bool Deliver(NodeId from, NodeId to, Action<TestReplica> arrive)
    {
        if (_cut.Contains((from, to)) || !this[to.Value].IsUp)
        {
            return false;
        }

        _network.Add((from, to, arrive));
        return true;
    }
}
