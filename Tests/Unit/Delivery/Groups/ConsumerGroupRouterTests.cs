using System.Collections.Concurrent;
using Broker.ClusterState;
using Broker.Delivery;
using Broker.Domain;
using Broker.Groups;
using Broker.Tests.Unit.Cluster;
using Broker.Tests.Unit.GrpcCalls;
using Broker.Tests.Unit.Topics;
using Xunit;

namespace Broker.Tests.Unit.Delivery.Groups;

/// <summary>Consumer groups of a cluster of three nodes, below what clients see.</summary>
public sealed class ConsumerGroupRouterTests
{
    private const long Plenty = 10_000_000;
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(20);

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Consumers_at_all_nodes_get_each_record_of_all_shards_once()
    {
        await using var running = await RunningNodes.StartAsync();
        var group = await CreateAsync(running, new ConsumerGroupSettings { Filters = ["t.*"] });
        await PublishAsync(running, topics: 12, batches: 5, records: 20);

        await using var first = running.Groups[0].Open(group, "one");
        await using var second = running.Groups[1].Open(group, "two");
        await using var third = running.Groups[2].Open(group, "three");
        IGroupSession[] all = [first, second, third];
        var seen = new HashSet<(string, long)>();
        var consuming = all.Select(
            (session, at) => ConsumeAsync(running.Groups[at], session, seen, 12 * 100)).ToArray();
        foreach (var session in all)
        {
            session.AddCredit(50, Plenty);
        }

        await Task.WhenAny(consuming).WaitAsync(Soon, Stop);
        Assert.Equal(12 * 100, seen.Count);
        await UntilReportAsync(running, group, static report =>
            report.Places.Count == 12 && report.Places.All(static place => place is { Lag: 0, Out: 0, Floor: 100 }));
        var report = await running.Groups[1].ReportAsync(group, Stop);
        Assert.Equal(["one", "three", "two"], report.Consumers.Select(static consumer => consumer.Name));
    }

    [Fact]
    public async Task A_token_outlives_its_session_and_is_taken_at_any_node()
    {
        await using var running = await RunningNodes.StartAsync();
        var group = await CreateAsync(running, new ConsumerGroupSettings { Filters = ["t.*"] });
        await PublishAsync(running, topics: 6, batches: 1, records: 1);
        var tokens = new List<SettleOrder>();
        await using (var session = running.Groups[0].Open(group, "gone"))
        {
            session.AddCredit(6, Plenty);
            await foreach (var delivery in session.ReadAsync(Stop))
            {
                tokens.Add(new SettleOrder(SettleKind.Ack, delivery.Token));
                if (tokens.Count == 6)
                {
                    break;
                }
            }
        }

        var outcomes = await running.Groups[2].SettleAsync(tokens, Stop);
        Assert.All(outcomes, static outcome => Assert.Equal(new SettleOutcome(null, 0), outcome));
        await UntilReportAsync(running, group, static report => report.Places.All(static place => place.Lag == 0));

        var wrong = await running.Groups[1].SettleAsync(
            [
                new SettleOrder(SettleKind.Ack, new byte[] { 1, 2, 3 }),
                new SettleOrder(SettleKind.Ack, tokens[0].Token, 1, 1),
            ],
            Stop);
        Assert.All(wrong, static outcome => Assert.Equal(RefusalCode.InvalidArgument, outcome.Refusal?.Code));
    }

    [Fact]
    public async Task What_was_sent_and_not_read_comes_to_another_consumer_at_once()
    {
        await using var running = await RunningNodes.StartAsync();
        var group = await CreateAsync(running, new ConsumerGroupSettings { Filters = ["t.*"], AckWaitMs = 60_000 });
        await PublishAsync(running, topics: 6, batches: 1, records: 10);
        await using (var session = running.Groups[0].Open(group, "idle"))
        {
            session.AddCredit(60, Plenty);
            await UntilReportAsync(running, group, static report => report.Places.Sum(static place => place.Out) == 60);
        }

        await using var next = running.Groups[1].Open(group, "next");
        next.AddCredit(60, Plenty);
        var seen = new HashSet<(string, long)>();
        await ConsumeAsync(running.Groups[1], next, seen, 60).WaitAsync(Soon, Stop);
    }

    [Fact]
    public async Task A_record_that_is_given_up_is_a_dead_letter_and_comes_again_when_it_is_redriven()
    {
        await using var running = await RunningNodes.StartAsync();
        var group = await CreateAsync(
            running, new ConsumerGroupSettings { Filters = ["t.*"], MaxDeliveries = 2 });
        await PublishAsync(running, topics: 3, batches: 1, records: 1);
        await using var session = running.Groups[0].Open(group, "one");
        session.AddCredit(100, Plenty);
        var attempts = new List<(string Topic, int Attempt)>();
        await foreach (var delivery in session.ReadAsync(Stop))
        {
            attempts.Add((delivery.Topic, delivery.Attempt));
            var order = delivery.Topic == "t.0"
                ? new SettleOrder(SettleKind.Terminate, delivery.Token, Reason: "poison")
                : new SettleOrder(SettleKind.Nack, delivery.Token, DelayMs: 10);
            Assert.Null((await running.Groups[0].SettleAsync([order], Stop))[0].Refusal);
            if (attempts.Count == 5)
            {
                break;
            }
        }

        Assert.Equal(
            [("t.0", 1), ("t.1", 1), ("t.1", 2), ("t.2", 1), ("t.2", 2)], attempts.Order());
        await UntilReportAsync(running, group, static report =>
            report.DeadLetters == 3 && report.Places.All(static place => place.Lag == 0));

        Assert.Equal((2, 1), await TakeDeadAsync(running, group, most: 2));
        Assert.Equal((1, 0), await TakeDeadAsync(running, group, most: 2));
        var again = new HashSet<(string, long)>();
        await ConsumeAsync(running.Groups[0], session, again, 3).WaitAsync(Soon, Stop);
        Assert.Equal([("t.0", 0L), ("t.1", 0L), ("t.2", 0L)], again.Order());
        await UntilReportAsync(running, group, static report => report.DeadLetters == 0);
        Assert.Equal((0, 0), await TakeDeadAsync(running, group, most: 2));
    }

    [Fact]
    public async Task Nothing_is_lost_and_nobody_waits_for_long_while_leaders_change()
    {
        await using var running = await RunningNodes.StartAsync();
        var group = await CreateAsync(running, new ConsumerGroupSettings { Filters = ["t.*"], AckWaitMs = 2_000 });
        await using var session = running.Groups[0].Open(group, "one");
        session.AddCredit(100, Plenty);
        var seen = new HashSet<(string, long)>();
        var consuming = ConsumeAsync(running.Groups[0], session, seen, 9 * 20);
        for (var round = 0; round < 4; round++)
        {
            await PublishAsync(running, topics: 9, batches: 1, records: 5);
            foreach (var shard in running.Shards)
            {
                var leader = running.LeaderOf(shard)!;
                leader.Group(shard).TransferLeadership(new NodeId(1 + (leader.Options.NodeId.Value % 3)));
            }
        }

        await consuming.WaitAsync(Soon, Stop);

        // What a leader has forgotten that somebody settled comes again: until the session ends it is settled anew.
        _ = ConsumeAsync(running.Groups[0], session, seen, int.MaxValue);
        await UntilReportAsync(running, group, static report =>
            report.Places.Count == 9 && report.Places.All(static place => place is { Lag: 0, Floor: 20 }));
    }

    [Fact]
    public async Task A_seek_delivers_again_and_a_group_that_is_deleted_ends_its_consumers()
    {
        await using var running = await RunningNodes.StartAsync();
        var group = await CreateAsync(running, new ConsumerGroupSettings { Filters = ["t.*"] });
        await PublishAsync(running, topics: 4, batches: 1, records: 10);
        await using var session = running.Groups[0].Open(group, "one");
        session.AddCredit(100, Plenty);
        var seen = new HashSet<(string, long)>();
        await ConsumeAsync(running.Groups[0], session, seen, 40).WaitAsync(Soon, Stop);

        var places = await running.Groups[2].SeekAsync(group, "t.1", null, new GroupSeek(4, null, false), Stop);
        Assert.Equal([("t.1", 4L, 6L)], places.Select(static place => (place.Topic, place.Floor, place.Lag)));
        seen.Clear();
        session.AddCredit(100, Plenty);
        await ConsumeAsync(running.Groups[0], session, seen, 6).WaitAsync(Soon, Stop);
        var refusal = await Assert.ThrowsAsync<BrokerException>(() =>
            running.Groups[2].SeekAsync(group, "other", null, new GroupSeek(4, null, false), Stop));
        Assert.Equal(RefusalCode.NotFound, refusal.Code);

        await running.ProposeAsync(
            GroupId.Metadata, Entries.Metadata(into => ConsumerGroupCommands.WriteDelete(into, group.Name)), Stop);
        refusal = await Assert.ThrowsAsync<BrokerException>(
            () => ConsumeAsync(running.Groups[0], session, seen, 1_000).WaitAsync(Soon, Stop));
        Assert.Equal(RefusalCode.NotFound, refusal.Code);
    }

    [Fact]
    public async Task The_shard_charges_a_dead_letter_that_is_redriven_as_the_session_counts_it()
    {
        await using var running = await RunningNodes.StartAsync();
        var group = await CreateAsync(running, new ConsumerGroupSettings { Filters = ["t.*"] });
        await PublishAsync(running, topics: 1, batches: 1, records: 3);
        var router = (ConsumerGroupRouter)running.Groups[0];
        var (_, shard) = await router.FindAsync(running.Nodes[0].Shards.GroupOf("t.0"), Stop);
        var consumer = new HeldOutlet();
        var session = new SessionKey(new NodeId(1), 1_000_000);
        shard.Open(session, openedUnixMs: 1, group.Number, "one", consumer);
        shard.AddCredit(session, records: 100, Plenty);
        await consumer.GetsAsync(3);
        var terminate = consumer.Deliveries
            .Select(static each => new SettleOrder(SettleKind.Terminate, each.Token, Reason: "no")).ToList();
        Assert.All(await router.SettleAsync(terminate, Stop), static outcome => Assert.Null(outcome.Refusal));
        Assert.Equal((3, 0), await TakeDeadAsync(running, group, most: 3));
        await consumer.GetsAsync(6);

        shard.Recall(session);
        var (records, bytes) = await consumer.Returns.Task.WaitAsync(Soon, Stop);
        Assert.Equal(
            (100 - 6, Plenty - consumer.Deliveries.Sum(static each => each.Batch.Length)), (records, bytes));
        shard.Close(session, consumer);
    }

    private static async Task<ConsumerGroup> CreateAsync(RunningNodes running, ConsumerGroupSettings settings)
    {
        var command = Entries.Metadata(into => ConsumerGroupCommands.WriteCreate(
            into, "workers", settings, new GroupStart(GroupStartKind.Beginning)));
        var made = await running.ProposeAsync(GroupId.Metadata, command, Stop);
        Assert.Equal(RefusalCode.None, made.Code);
        await EchoServer.UntilAsync(
            () => running.Nodes.TrueForAll(static node => node.ConsumerGroups.Find("workers") is not null),
            "all nodes know the group");
        return running.Nodes[0].ConsumerGroups.Find("workers")!;
    }

    private static async Task<(long Count, long Left)> TakeDeadAsync(
        RunningNodes running, ConsumerGroup group, int most)
    {
        var (count, left) = (0L, 0L);
        foreach (var shard in running.Groups[1].Shards)
        {
            var taken = await running.Groups[1].TakeDeadLettersAsync(
                group, shard, new DeadOrder([], Before: null, (int)(most - count), IsPurge: false), Stop);
            (count, left) = (count + taken.Count, left + taken.Left);
        }

        return (count, left);
    }

    private static async Task PublishAsync(RunningNodes running, int topics, int batches, int records)
    {
        for (var topic = 0; topic < topics; topic++)
        {
            for (var batch = 0; batch < batches; batch++)
            {
                var name = $"t.{topic}";
                await running.PublishAsync(
                    running.Nodes[0].Shards.GroupOf(name),
                    Entries.PublishCommand(name, Entries.Batch(records), records),
                    Stop);
            }
        }
    }

    /// <summary>Until all consumers have seen so many records; each gives the credit back that it has used.</summary>
    private static async Task ConsumeAsync(
        IConsumerGroups groups, IGroupSession session, HashSet<(string, long)> seen, int wanted)
    {
        await foreach (var delivery in session.ReadAsync(Stop))
        {
            lock (seen)
            {
                for (var i = 0; i < delivery.Count; i++)
                {
                    seen.Add((delivery.Topic, delivery.BaseOffset + i));
                }
            }

            var outcome = await groups.SettleAsync([new SettleOrder(SettleKind.Ack, delivery.Token)], Stop);
            Assert.Null(outcome[0].Refusal);
            session.AddCredit(delivery.Count, delivery.Batch.Length);
            lock (seen)
            {
                if (seen.Count >= wanted)
                {
                    return;
                }
            }
        }
    }

    private static async Task UntilReportAsync(
        RunningNodes running, ConsumerGroup group, Func<GroupReport, bool> isSo)
    {
        GroupReport? report = null;
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(Stop);
        patience.CancelAfter(Soon);
        while (report is null || !isSo(report))
        {
            Assert.False(patience.IsCancellationRequested, $"{report} {string.Join(", ", report?.Places ?? [])}");
            await Task.Delay(20, Stop);
            report = await running.Groups[0].ReportAsync(group, Stop);
        }
    }

    /// <summary>A consumer's end of what one shard says.</summary>
    private sealed class HeldOutlet : IGroupOutlet
    {
        private readonly ConcurrentQueue<GroupDelivery> _deliveries = new();

        public IReadOnlyCollection<GroupDelivery> Deliveries => _deliveries;

        public TaskCompletionSource<(int Records, long Bytes)> Returns { get; } =
            new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task GetsAsync(int records) => EchoServer.UntilAsync(
            () => _deliveries.Sum(static each => each.Count) == records, $"{records} records came");

        public void Opened()
        {
            // Credit may come before.
        }

        public void Deliver(in GroupDelivery delivery) => _deliveries.Enqueue(delivery);

        public void WantsCredit()
        {
            // It has plenty.
        }

        public void Quiet()
        {
            // It waits for what it gets.
        }

        public void Returned(int records, long bytes) => Returns.TrySetResult((records, bytes));

        public void Ended(BrokerException why) => Returns.TrySetException(why);
    }
}
