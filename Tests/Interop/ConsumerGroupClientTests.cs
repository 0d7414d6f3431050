using System.Text;
using Broker.Client;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>Consumer groups by the client library, over real nodes.</summary>
public sealed class ConsumerGroupClientTests
{
    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task A_consumer_gets_everything_once_and_acks_go_together(int nodes)
    {
        await using var brokers = await BrokerProcesses.StartAsync(nodes);
        await using var client = brokers.Connect();
        await using var consumer = await client.ConsumeAsync("work", new ConsumeOptions { Filters = ["a.>"] }, Test);
        Assert.Equal(TimeSpan.FromSeconds(30), consumer.AckWait);
        await Task.WhenAll(Enumerable.Range(0, 3_000).Select(i =>
            client.PublishAsync($"a.{i % 7}", Message($"{i}"), Test).AsTask()));
        var seen = new List<string>();
        var acks = new List<Task<bool>>();
        await foreach (var record in consumer.WithCancellation(Test))
        {
            Assert.Equal(1, record.Attempt);
            seen.Add(Text(record));
            acks.Add(record.AckAsync(Test).AsTask());
            if (seen.Count == 3_000)
            {
                break;
            }
        }

        Assert.All(await Task.WhenAll(acks), Assert.True);
        Assert.Equal(Enumerable.Range(0, 3_000).Select(static i => $"{i}").Order(), seen.Order());
        var found = await client.DescribeGroupAsync("work", Test);
        Assert.Equal((0L, 1), (found.Group.Lag, found.Group.Consumers));
        Assert.True(Assert.Single(found.Consumers).Served);
        Assert.Equal(3_000, found.Progress.Sum(static each => each.AckFloor));
        Assert.Empty(await client.FetchAsync("work", wait: TimeSpan.FromMilliseconds(100), cancellationToken: Test));
    }

    [Fact]
    public async Task A_group_is_made_changed_listed_moved_and_deleted()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        var settings = new GroupSettings
        {
            Filters = ["a"],
            AckWait = TimeSpan.FromSeconds(2),
            BackOff = [TimeSpan.FromMilliseconds(10)],
            MaxDeliveries = 0,
        };
        await client.PublishAsync("a", Message("before"), Test);
        var made = await client.CreateGroupAsync("g", settings, GroupPlace.End, Test);
        Assert.Equal(("a", 0, 10_000, true, false), (
            Assert.Single(made.Filters!), made.MaxDeliveries, made.MaxOutstanding, made.KeepDeadLetters, made.Paused));
        var refused = await Assert.ThrowsAsync<BrokerClientException>(async () =>
            await client.CreateGroupAsync("g", new GroupSettings { Filters = ["b"] }, cancellationToken: Test));
        Assert.Equal(BrokerClientErrorCode.AlreadyExists, refused.Code);
        var changed = await client.UpdateGroupAsync("g", new GroupSettings { MaxDeliveries = 5, BackOff = [] }, Test);
        Assert.Equal((5, 0, TimeSpan.FromSeconds(2)), (changed.MaxDeliveries, changed.BackOff!.Count, changed.AckWait));
        await Eventually.HoldsAsync(
            async () => (await client.ListGroupsAsync(cancellationToken: Test)) is [{ Name: "g" }],
            () => "the group is listed");
        await client.PublishAsync("a", Message("after"), Test);
        var patience = TimeSpan.FromSeconds(10);
        var record = Assert.Single(await client.FetchAsync("g", wait: patience, cancellationToken: Test));
        Assert.Equal("after", Text(record));
        Assert.Equal(1, (await client.ListGroupsAsync(figures: true, cancellationToken: Test))[0].Lag);
        var moved = Assert.Single(await client.SeekGroupAsync("g", GroupPlace.Beginning, cancellationToken: Test));
        Assert.Equal((0L, 2L), (moved.AckFloor, moved.Lag));
        Assert.False(await record.AckAsync(Test));
        Assert.Single(await client.SeekGroupAsync("g", GroupPlace.At(1), "a", 0, Test));
        record = Assert.Single(await client.FetchAsync("g", wait: patience, cancellationToken: Test));
        Assert.Equal("after", Text(record));
        Assert.True(await client.DeleteGroupAsync("g", Test));
        Assert.False(await client.DeleteGroupAsync("g", Test));
        var gone = await Assert.ThrowsAsync<BrokerClientException>(async () =>
            await client.ConsumeAsync("g", cancellationToken: Test));
        Assert.Equal(BrokerClientErrorCode.NotFound, gone.Code);
    }

    [Fact]
    public async Task What_is_nacked_extended_and_terminated_is_so()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        await using var client = brokers.Connect();
        await client.CreateGroupAsync(
            "g", new GroupSettings { Filters = ["a"], AckWait = TimeSpan.FromSeconds(5) }, cancellationToken: Test);
        await client.PublishAsync("a", Message("poison"), Test);
        await using var consumer = await client.ConsumeAsync("g", cancellationToken: Test);
        await using var records = consumer.GetAsyncEnumerator(Test);
        Assert.True(await records.MoveNextAsync());
        Assert.True(await records.Current.NackAsync(TimeSpan.Zero, Test));
        Assert.True(await records.MoveNextAsync());
        var record = records.Current;
        Assert.Equal(2, record.Attempt);
        for (var i = 0; i < 4; i++)
        {
            await Task.Delay(1_500, Test);
            Assert.True(await record.ExtendAsync(cancellationToken: Test));
        }

        Assert.True(await record.TerminateAsync("no good", Test));
        Assert.True(await record.AckAsync(Test));
        var letter = Assert.Single(await client.ListDeadLettersAsync("g", Test).ToListAsync(Test));
        Assert.Equal(("no good", 2, "poison", "a", 0L), (
            letter.Reason, letter.Attempts, Encoding.UTF8.GetString(letter.Record.Value.Span), letter.Record.Topic,
            letter.Record.Offset));
        Assert.Equal(0, await client.RedriveDeadLettersAsync("g", [], cancellationToken: Test));
        Assert.Equal(1, await client.RedriveDeadLettersAsync("g", [letter.Position], ratePerSecond: 100, Test));
        Assert.True(await records.MoveNextAsync());
        Assert.Equal(("poison", 1), (Text(records.Current), records.Current.Attempt));
        Assert.True(await records.Current.TerminateAsync(cancellationToken: Test));
        Assert.Equal(1, await client.PurgeDeadLettersAsync("g", cancellationToken: Test));
        Assert.Empty(await client.ListDeadLettersAsync("g", Test).ToListAsync(Test));
    }

    [Fact]
    public async Task A_consumer_goes_on_at_another_broker_and_settles_what_it_holds_and_ends_with_its_group()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        var options = new ConsumeOptions { Filters = ["a.>"], MaxUnsettledRecords = 20 };
        var consumers = new List<GroupConsumer>();
        for (var i = 0; i < 3; i++)
        {
            consumers.Add(await client.ConsumeAsync("g", options, Test));
        }

        var held = new List<GroupRecord>();
        var seen = new HashSet<string>();
        var working = consumers.Select(async consumer =>
        {
            try
            {
                await foreach (var record in consumer.WithCancellation(Test))
                {
                    lock (seen)
                    {
                        if (held.Count < 10)
                        {
                            held.Add(record);
                            continue;
                        }
                    }

                    if (await record.AckAsync(Test))
                    {
                        lock (seen)
                        {
                            seen.Add(Text(record));
                        }
                    }
                }
            }
            catch (BrokerClientException ended)
            {
                return ended.Code;
            }

            return BrokerClientErrorCode.Unknown;
        }).ToList();
        async Task PublishAsync(int from) => await Task.WhenAll(Enumerable.Range(from, 500).Select(i =>
            client.PublishAsync($"a.{i % 5}", Message($"{i}"), Test).AsTask()));
        await PublishAsync(0);
        await Eventually.HoldsAsync(() => Count() >= 490, "all but what is held is settled", 60);
        await brokers.StopAsync(0);
        await PublishAsync(500);
        await Eventually.HoldsAsync(() => Count() >= 990, "consumers go on without that broker", 60);

        // What was delivered before is settled after, as the lease lasts; or a later leader has given it to another
        // one.
        await client.SettleAsync(held.Select(static each => GroupSettlement.Ack(each.Delivery)), Test);
        await Eventually.HoldsAsync(
            async () => (await client.DescribeGroupAsync("g", Test)).Group.Lag == 0, () => "all is settled", 60);
        var watch = System.Diagnostics.Stopwatch.StartNew();
        await client.DeleteGroupAsync("g", Test);
        Assert.All(await Task.WhenAll(working), static code => Assert.Equal(BrokerClientErrorCode.GroupDeleted, code));
        Assert.InRange(watch.Elapsed.TotalSeconds, 0, 20);
        foreach (var consumer in consumers)
        {
            await consumer.DisposeAsync();
        }

        int Count()
        {
            lock (seen)
            {
                return seen.Count;
            }
        }
    }

    [Fact]
    public async Task What_a_consumer_did_not_hand_out_goes_back_at_once_and_its_window_is_kept()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        await using var client = brokers.Connect();
        await using (var first = await client.ConsumeAsync(
            "g", new ConsumeOptions { Filters = ["a"], MaxUnsettledRecords = 5 }, Test))
        {
            await Task.WhenAll(Enumerable.Range(0, 20).Select(i =>
                client.PublishAsync("a", Message($"{i}"), Test).AsTask()));
            await using var records = first.GetAsyncEnumerator(Test);
            Assert.True(await records.MoveNextAsync());
            Assert.Equal(5, (await client.DescribeGroupAsync("g", Test)).Progress.Sum(static each => each.Outstanding));
            Assert.True(await records.Current.AckAsync(Test));
        }

        await using var second = await client.ConsumeAsync("g", cancellationToken: Test);
        var offsets = new SortedSet<long>();
        var watch = System.Diagnostics.Stopwatch.StartNew();
        await foreach (var record in second.WithCancellation(Test))
        {
            offsets.Add(record.Record.Offset);
            Assert.True(await record.AckAsync(Test));
            if (offsets.Count == 19)
            {
                break;
            }
        }

        Assert.InRange(watch.Elapsed.TotalSeconds, 0, 20);
        Assert.Equal(Enumerable.Range(1, 19).Select(static i => (long)i), offsets);
        await Assert.ThrowsAsync<BrokerClientException>(async () => await client.ConsumeAsync(
            "g", new ConsumeOptions { MaxUnsettledRecords = 0 }, Test));
    }

    /// <summary>
    /// Credit goes back in large parts, but what is free is never kept from a consumer that has nothing else to do.
    /// </summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task A_consumer_that_holds_most_of_its_window_goes_on_with_what_is_left(int left)
    {
        const int Window = 40;
        const int Count = 200;
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        await using var consumer = await client.ConsumeAsync(
            "g", new ConsumeOptions { Filters = ["a.>"], MaxUnsettledRecords = Window }, Test);
        await Task.WhenAll(Enumerable.Range(0, Count).Select(i =>
            client.PublishAsync($"a.{i % 4}", Message($"{i}"), Test).AsTask()));
        var held = new List<GroupRecord>();
        var acks = new List<Task<bool>>();
        var watch = System.Diagnostics.Stopwatch.StartNew();
        await foreach (var record in consumer.WithCancellation(Test))
        {
            if (held.Count < Window - left)
            {
                held.Add(record);
            }
            else
            {
                acks.Add(record.AckAsync(Test).AsTask());
            }

            if (held.Count + acks.Count == Count)
            {
                break;
            }
        }

        // By the second in which leases are looked at, a record a second would come, or two.
        Assert.InRange(watch.Elapsed.TotalSeconds, 0, 70);
        Assert.All(await Task.WhenAll(acks), Assert.True);
        await Eventually.HoldsAsync(
            async () => (await client.DescribeGroupAsync("g", Test)).Group.Lag == Window - left,
            () => "only what is held is not settled",
            30);
        Assert.All(await Task.WhenAll(held.Select(static each => each.AckAsync(Test).AsTask())), Assert.True);
    }

    [Fact]
    public async Task A_first_fetch_at_a_broker_has_what_there_is_in_all_shards()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        for (var topic = 0; topic < 30; topic++)
        {
            await client.PublishAsync($"a.{topic}", Message("x"), Test);
        }

        // From each broker, each time of a group that nobody serves yet. A machine may be too busy for it once.
        for (var node = 0; node < 3; node++)
        {
            var topics = new List<int>();
            while (topics.LastOrDefault() < 30)
            {
                Assert.True(topics.Count < 10, $"broker-{node + 1} gives {string.Join(", ", topics)}");
                var group = $"g{node}-{topics.Count}";
                await client.CreateGroupAsync(group, new GroupSettings { Filters = ["a.*"] }, cancellationToken: Test);
                var request = new Protocol.V1.FetchRequest { Group = group, MaxRecords = 1_000, WaitMs = 20_000 };
                var fetched = await new Protocol.V1.Broker.BrokerClient(brokers.Channels[node]).FetchAsync(
                    request, cancellationToken: Test);
                topics.Add(fetched.Deliveries.Select(static each => each.Topic).Distinct().Count());
            }
        }
    }

    private static BrokerMessage Message(string value) => new() { Value = Encoding.UTF8.GetBytes(value) };

    private static string Text(GroupRecord record) => Encoding.UTF8.GetString(record.Record.Value.Span);
}
