using System.Diagnostics;
using Broker.Client;
using Xunit;
using static Broker.Tests.Unit.Client.ClientTesting;

namespace Broker.Tests.Unit.Client;

public sealed class PublishTests
{
    private static readonly CancellationToken Test = TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_message_is_stored_and_its_offset_comes_back()
    {
        await using var cluster = await FakeCluster.StartAsync();
        await using var client = Connect(cluster);

        var first = await client.PublishAsync("orders.new", Message("one"), Test);
        var second = await client.PublishAsync("orders.new", Message("two"), Test);

        Assert.Equal(("orders.new", 0, false), (first.Topic, first.Offset, first.Duplicate));
        Assert.Equal(1, second.Offset);
        Assert.Equal(DateTimeOffset.FromUnixTimeMilliseconds(1_700_000_000_001), second.Timestamp);
        Assert.Equal(["one", "two"], cluster.Values("orders.new"));
    }

    [Fact]
    public async Task Messages_that_wait_travel_together_and_keep_their_order()
    {
        await using var cluster = await FakeCluster.StartAsync();
        await using var client = Connect(cluster);

        var acks = Enumerable.Range(0, 5_000)
            .Select(i => client.PublishAsync("t", Message($"{i}"), Test).AsTask())
            .ToArray();
        var offsets = (await Task.WhenAll(acks)).Select(a => a.Offset);

        Assert.Equal(Enumerable.Range(0, 5_000).Select(i => (long)i), offsets);
        Assert.Equal(Enumerable.Range(0, 5_000).Select(i => $"{i}"), cluster.Values("t"));
        Assert.InRange(cluster.Nodes[0].Publishes.Count, 2, 2_500);
    }

    [Fact]
    public async Task The_first_batch_goes_alone_and_later_ones_overlap()
    {
        await using var cluster = await FakeCluster.StartAsync();
        var node = cluster.Nodes[0];
        node.Hold = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var client = Connect(cluster, o => o with { BatchRecords = 10, MaxInFlightBatchesPerTopic = 3 });

        var acks =
            Enumerable.Range(0, 100).Select(i => client.PublishAsync("t", Message($"{i}"), Test).AsTask()).ToArray();
        await Until(() => !node.Publishes.IsEmpty, "the first batch arrived");
        Assert.Equal(1, node.MostUnderWay);

        var firstHold = node.Hold;
        node.Hold = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        firstHold.SetResult();
        await Until(() => node.MostUnderWay == 3, "three batches were under way");
        node.Hold.SetResult();
        await Task.WhenAll(acks);

        Assert.Equal(3, node.MostUnderWay);
        Assert.Equal(Enumerable.Range(0, 100).Select(i => $"{i}"), cluster.Values("t"));
    }

    [Theory]
    [InlineData((int)Fault.RefuseUnavailable, false)]
    [InlineData((int)Fault.RefuseOverloaded, false)]
    [InlineData((int)Fault.AbortStored, true)]
    [InlineData((int)Fault.AbortNotStored, false)]
    [InlineData((int)Fault.StoreAndBreak, true)]
    [InlineData((int)Fault.Break, false)]
    public async Task A_retried_message_is_stored_once(int fault, bool duplicate)
    {
        await using var cluster = await FakeCluster.StartAsync(2);
        foreach (var node in cluster.Nodes)
        {
            node.Next.Enqueue((Fault)fault);
        }

        await using var client = Connect(cluster);
        var ack = await client.PublishAsync("t", Message("x"), Test);

        Assert.Equal((0, duplicate), (ack.Offset, ack.Duplicate));
        Assert.Equal(["x"], cluster.Values("t"));
        var stamps = cluster.Nodes.SelectMany(n => n.Publishes).Select(p => p.Producer).Distinct();
        Assert.Single(stamps);
    }

    [Fact]
    public async Task The_leader_that_an_answer_names_gets_the_next_batch()
    {
        await using var cluster = await FakeCluster.StartAsync(3);
        cluster.Leader = 2;
        await using var client = Connect(cluster);

        await client.PublishAsync("t", Message("0"), Test);
        var before = cluster.Nodes[2].Publishes.Count;
        for (var i = 1; i <= 5; i++)
        {
            await client.PublishAsync("t", Message($"{i}"), Test);
        }

        Assert.Equal(before + 5, cluster.Nodes[2].Publishes.Count);
    }

    [Fact]
    public async Task A_refusal_that_names_the_leader_is_followed_at_once()
    {
        await using var cluster = await FakeCluster.StartAsync(3);
        cluster.Forwards = false;
        cluster.Leader = 1;
        await using var client = Connect(cluster, o => o with { Addresses = [cluster.Addresses[0]] });

        var ack = await client.PublishAsync("t", Message("x"), Test);

        Assert.Equal(0, ack.Offset);
        Assert.Single(cluster.Nodes[0].Publishes);
        Assert.Single(cluster.Nodes[1].Publishes);
    }

    [Fact]
    public async Task Nothing_is_lost_doubled_or_reordered_while_brokers_fail_and_leadership_moves()
    {
        await using var cluster = await FakeCluster.StartAsync(3);
        cluster.Forwards = false;
        await using var client = Connect(cluster, o => o with { BatchRecords = 7 });
        var random = new Random(4711);
        Fault[] faults =
            [Fault.RefuseUnavailable, Fault.AbortStored, Fault.AbortNotStored, Fault.StoreAndBreak, Fault.Break];

        var acks = new List<Task<PublishAck>>();
        for (var i = 0; i < 3_000; i++)
        {
            acks.Add(client.PublishAsync("t", Message($"{i}"), Test).AsTask());
            if (i % 100 == 0)
            {
                cluster.Leader = random.Next(3);
                cluster.Nodes[random.Next(3)].Next.Enqueue(faults[random.Next(faults.Length)]);
                await acks[random.Next(acks.Count)];
            }
        }

        var answered = await Task.WhenAll(acks);
        Assert.Equal(Enumerable.Range(0, 3_000).Select(i => $"{i}"), cluster.Values("t"));
        Assert.All(
            answered.Index(), a => Assert.True(a.Item.Offset == a.Index || a.Item is { Offset: -1, Duplicate: true }));
    }

    [Fact]
    public async Task A_broker_that_hangs_is_left_for_another()
    {
        await using var cluster = await FakeCluster.StartAsync(2);
        await using var client = Connect(cluster, o => o with { AnswerTimeout = TimeSpan.FromMilliseconds(150) });
        await client.PublishAsync("t", Message("0"), Test);
        cluster.Nodes[0].Always = Fault.Swallow;
        cluster.Leader = 1;

        var clock = Stopwatch.StartNew();
        var ack = await client.PublishAsync("t", Message("1"), Test);

        Assert.Equal(1, ack.Offset);
        Assert.InRange(clock.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(2));
        Assert.Equal(["0", "1"], cluster.Values("t"));
    }

    [Fact]
    public async Task A_broker_that_is_away_costs_a_moment_only()
    {
        await using var cluster = await FakeCluster.StartAsync(2);
        await using var client = Connect(cluster);
        await client.PublishAsync("t", Message("0"), Test);
        await cluster.Nodes[0].DisposeAsync();
        cluster.Leader = 1;

        var clock = Stopwatch.StartNew();
        var ack = await client.PublishAsync("t", Message("1"), Test);

        Assert.Equal(1, ack.Offset);
        Assert.InRange(clock.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(1));
    }

    [Fact]
    public async Task A_retry_is_made_though_its_timer_rings_too_early()
    {
        await using var cluster = await FakeCluster.StartAsync();
        cluster.Nodes[0].Next.Enqueue(Fault.RefuseOverloaded);
        var options = new BrokerClientOptions { Addresses = cluster.Addresses };
        await using var client = new BrokerClient(options, null, new HastyTimeProvider());

        var ack = await client.PublishAsync("t", Message("x"), Test);

        Assert.Equal(0, ack.Offset);
    }

    [Fact]
    public async Task A_cancelled_publish_stops_waiting()
    {
        await using var cluster = await FakeCluster.StartAsync();
        cluster.Nodes[0].Always = Fault.Swallow;
        await using var client = Connect(cluster);
        using var cancel = new CancellationTokenSource();

        var publish = client.PublishAsync("t", Message("x"), cancel.Token);
        await Until(() => !cluster.Nodes[0].Publishes.IsEmpty, "the message arrived");
        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await publish);
    }

    [Fact]
    public async Task Publishes_beyond_the_byte_limit_wait_and_keep_their_order()
    {
        await using var cluster = await FakeCluster.StartAsync();
        var node = cluster.Nodes[0];
        node.Hold = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var client = Connect(cluster, o => o with { MaxBufferedBytes = 1_000, MaxWaitingPublishes = 50 });

        var bytes = new byte[100];
        var acks = new List<Task<PublishAck>>();
        for (var i = 0; i < 50; i++)
        {
            bytes[0] = (byte)i;
            acks.Add(client.PublishAsync("t", new BrokerMessage { Value = bytes.ToArray() }, Test).AsTask());
        }

        await Until(() => !node.Publishes.IsEmpty, "the first batch arrived");
        Assert.DoesNotContain(acks, a => a.IsCompleted);
        node.Hold.SetResult();
        var answered = await Task.WhenAll(acks);

        Assert.Equal(Enumerable.Range(0, 50).Select(i => (long)i), answered.Select(a => a.Offset));
        Assert.Equal(Enumerable.Range(0, 50), cluster.Topic("t")!.Records.Select(r => (int)r.Value[0]));
        Assert.True(node.Publishes.All(p => p.Batch.Length <= 1_000), "no more than the limit was under way");
    }

    [Fact]
    public async Task Too_many_publishes_that_wait_for_room_are_refused_at_once()
    {
        await using var cluster = await FakeCluster.StartAsync();
        cluster.Nodes[0].Always = Fault.Swallow;
        var client = Connect(cluster, o => o with { MaxBufferedBytes = 1, MaxWaitingPublishes = 1 });
        var first = client.PublishAsync("t", Message("1"), Test).AsTask();
        var second = client.PublishAsync("t", Message("2"), Test).AsTask();

        var refusal = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.PublishAsync("t", Message("3"), Test));
        await client.DisposeAsync();

        Assert.Equal(BrokerClientErrorCode.ResourceExhausted, refusal.Code);
        Assert.Contains("MaxWaitingPublishes", refusal.Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<BrokerClientException>(() => first);
        await Assert.ThrowsAsync<BrokerClientException>(() => second);
    }

    [Fact]
    public async Task Many_topics_and_callers_at_once_keep_each_topic_in_order()
    {
        await using var cluster = await FakeCluster.StartAsync(3);
        await using var client = Connect(cluster, o => o with { MaxBufferedBytes = 20_000 });
        await Parallel.ForAsync(0, 40, Test, async (t, token) =>
        {
            for (var i = 0; i < 100; i++)
            {
                var ack = await client.PublishAsync($"topic.{t}", Message($"{i}"), token);
                Assert.Equal(i, ack.Offset);
            }
        });

        Assert.All(Enumerable.Range(0, 40), t =>
            Assert.Equal(Enumerable.Range(0, 100).Select(i => $"{i}"), cluster.Values($"topic.{t}")));
    }
}
