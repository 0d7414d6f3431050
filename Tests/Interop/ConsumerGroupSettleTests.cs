using Broker.Protocol.V1;
using Grpc.Core;
using Xunit;
using static Broker.Tests.Interop.ConsumerGroupTests;
using static Broker.Tests.Interop.ForeignCalls;
using GroupDelivery = Broker.Protocol.V1.Delivery;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Interop;

/// <summary>
/// What becomes of records that a group was delivered: leases, dead letters, seeks, the end of a group.
/// </summary>
public sealed class ConsumerGroupSettleTests
{
    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_record_whose_lease_ends_comes_again_so_often_and_is_then_one_dead_letter()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        await MakeAsync(admin, "g", new GroupConfig { Filters = { "a" }, AckWaitMs = 1_500, MaxDeliveries = 3 });
        await PublishAsync(brokers.Channels[1], "a", "poison");
        for (var attempt = 0U; attempt < 3;)
        {
            // Each time the consumer is gone with what it was given. On a busy machine a lease may end before that.
            await using var stream = await GroupStream.OpenAsync(brokers.Channels[(int)attempt % 3], "g");
            if (await stream.NextAsync(10) is not { } delivery)
            {
                break;
            }

            Assert.Equal(("a", 0L), (delivery.Topic, delivery.BaseOffset));
            Assert.InRange(delivery.Attempt, attempt + 1, 3U);
            attempt = delivery.Attempt;
        }

        await Eventually.HoldsAsync(
            async () => (await DeadLettersAsync(admin, "g")).Count == 1, () => "there is a dead letter");
        var letter = Assert.Single(await DeadLettersAsync(new Admin.AdminClient(brokers.Channels[2]), "g"));
        Assert.Equal(
            ("a", 0U, 0L, 3U, "", "poison"),
            (letter.Topic, letter.Partition, letter.Offset, letter.Attempts, letter.Reason,
                letter.Record.Value.ToStringUtf8()));
        Assert.InRange(letter.DeadUnixMs - letter.TimestampUnixMs, 1_000, 60_000);
        var found = await admin.DescribeGroupAsync(new DescribeGroupRequest { Name = "g" }, cancellationToken: Test);
        Assert.Equal((1L, 0L), (found.Group.DeadLetters, found.Progress.Single(each => each.Topic == "a").LagRecords));

        await RefusedAsync(StatusCode.FailedPrecondition, "GROUP_EXISTS", () => admin.DeleteTopicAsync(
            new DeleteTopicRequest { Name = "$dlq.g" }, cancellationToken: Test).ResponseAsync);
        await RefusedAsync(StatusCode.InvalidArgument, "INVALID_REQUEST", "$", () =>
            new Protocol.V1.Broker.BrokerClient(brokers.Channels[0]).PublishAsync(
                new PublishRequest { Topic = "$dlq.g", Batch = new RecordBatch { Records = { new Record() } } },
                cancellationToken: Test).ResponseAsync);

        // The dead letters outlive the group, until their topic is deleted.
        await admin.DeleteGroupAsync(new DeleteGroupRequest { Name = "g" }, cancellationToken: Test);
        Assert.Single(await DeadLettersAsync(admin, "g"));
        await admin.DeleteTopicAsync(new DeleteTopicRequest { Name = "$dlq.g" }, cancellationToken: Test);
        await RefusedAsync(StatusCode.NotFound, "NOT_FOUND", () => admin.ListDeadLettersAsync(
            new ListDeadLettersRequest { Group = "g" }, cancellationToken: Test).ResponseAsync);
    }

    [Fact]
    public async Task Terminated_records_are_listed_redriven_and_purged()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        var admin = new Admin.AdminClient(brokers.Channels[1]);
        var batch = new RecordBatch();
        for (var i = 0; i < 10; i++)
        {
            batch.Records.Add(new Record
            {
                Key = Google.Protobuf.ByteString.CopyFromUtf8($"k{i}"),
                Value = Google.Protobuf.ByteString.CopyFromUtf8($"v{i}"),
                Headers = { new Header { Name = "h", Value = Google.Protobuf.ByteString.CopyFromUtf8($"{i}") } },
            });
        }

        foreach (var topic in new[] { "t.0", "t.1", "t.2", "t.3" })
        {
            await new Protocol.V1.Broker.BrokerClient(brokers.Channels[0]).PublishAsync(
                new PublishRequest { Topic = topic, Batch = batch }, cancellationToken: Test);
        }

        await using var stream = await GroupStream.OpenAsync(brokers.Channels[0], "g", "t.>", ">");
        for (var records = 0U; records < 40;)
        {
            var delivery = (await stream.NextAsync())!;
            records += delivery.Count;
            Assert.Equal(0U, (await stream.TerminateAsync(delivery, "no good")).Status);
        }

        var letters = await DeadLettersAsync(admin, "g", pageSize: 7);
        Assert.Equal(40, letters.Count);
        Assert.Equal(40, letters.Select(static each => (each.Topic, each.Offset)).Distinct().Count());
        Assert.All(letters, static each =>
        {
            Assert.Equal(("no good", 1U), (each.Reason, each.Attempts));
            Assert.Equal($"v{each.Offset}", each.Record.Value.ToStringUtf8());
            Assert.Equal($"k{each.Offset}", each.Record.Key.ToStringUtf8());
            Assert.Equal(("h", $"{each.Offset}"), (
                Assert.Single(each.Record.Headers).Name, each.Record.Headers[0].Value.ToStringUtf8()));
        });
        Assert.Null(await stream.NextAsync(0.3));

        // Some, by their positions; what is not there is passed over.
        var purged = await admin.PurgeDeadLettersAsync(
            new PurgeDeadLettersRequest
            {
                Group = "g",
                Positions =
                {
                    letters.Take(3).Select(static each => each.Position), new DeadLetterPosition { Offset = 9_999 },
                },
            },
            cancellationToken: Test);
        Assert.Equal(3, purged.Count);
        Assert.Equal(
            letters.Skip(3).Select(static each => each.Position),
            (await DeadLettersAsync(admin, "g")).Select(static each => each.Position));
        var redriven = await admin.RedriveDeadLettersAsync(
            new RedriveDeadLettersRequest { Group = "g", Positions = { letters[3].Position, letters[0].Position } },
            cancellationToken: Test);
        Assert.Equal(1, redriven.Count);
        var again = (await stream.NextAsync())!;
        Assert.Equal(
            (letters[3].Topic, letters[3].Offset, letters[3].TimestampUnixMs, 1U),
            (again.Topic, again.BaseOffset, again.TimestampUnixMs, again.Attempt));
        Assert.Equal(letters[3].Record, Assert.Single(again.Batch.Records));
        Assert.Equal(0U, (await stream.AckAsync(again)).Status);
        Assert.Equal(36, (await admin.RedriveDeadLettersAsync(
            new RedriveDeadLettersRequest { Group = "g" }, cancellationToken: Test)).Count);
        var all = await stream.TakeAsync(36);
        Assert.Equal(
            letters.Skip(4).Select(static each => (each.Topic, each.Offset)).Order(),
            all.Select(static each => (each.Topic, each.Offset)).Order());
        Assert.Empty(await DeadLettersAsync(admin, "g"));
        Assert.Equal(0, (await admin.PurgeDeadLettersAsync(
            new PurgeDeadLettersRequest { Group = "g" }, cancellationToken: Test)).Count);
        await RefusedAsync(StatusCode.InvalidArgument, "INVALID_REQUEST", () => admin.RedriveDeadLettersAsync(
            new RedriveDeadLettersRequest { Group = "g", Positions = { new DeadLetterPosition { Offset = -1 } } },
            cancellationToken: Test).ResponseAsync);
        await RefusedAsync(StatusCode.InvalidArgument, "INVALID_REQUEST", () => admin.ListDeadLettersAsync(
            new ListDeadLettersRequest { Group = "g", PageToken = "x" }, cancellationToken: Test).ResponseAsync);
        await RefusedAsync(StatusCode.NotFound, "NOT_FOUND", () => admin.RedriveDeadLettersAsync(
            new RedriveDeadLettersRequest { Group = "never" }, cancellationToken: Test).ResponseAsync);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task A_token_settles_on_another_stream_at_another_node_as_long_as_the_lease_lasts(int nodes)
    {
        await using var brokers = await BrokerProcesses.StartAsync(nodes);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        await MakeAsync(admin, "g", new GroupConfig { Filters = { "a" }, AckWaitMs = 8_000 });
        await PublishAsync(brokers.Channels[0], "a", "0", "1", "2");
        GroupDelivery delivery;
        await using (var first = await GroupStream.OpenAsync(brokers.Channels[0], "g"))
        {
            delivery = (await first.NextAsync())!;
            Assert.Equal(3U, delivery.Count);
        }

        await using var second = await GroupStream.OpenAsync(brokers.Channels[nodes - 1], "g");
        Assert.Equal(0U, (await second.AckAsync(delivery, first: 0, count: 1)).Status);
        var settle = new SettleRequest
        {
            Settlements =
            {
                new Settlement { Ack = new Ack { Ranges = { GroupStream.RangeOf(delivery.Token, 1, 1) } } },
                new Settlement { Ack = new Ack { Ranges = { new DeliveredRange() } } },
            },
        };
        var settled = await new Protocol.V1.Broker.BrokerClient(brokers.Channels[nodes - 1]).SettleAsync(
            settle, cancellationToken: Test);
        Assert.Equal([0U, 3U], settled.Results.Select(static each => each.Status));

        // After its end the answer says so, and the record comes again.
        var again = (await second.NextAsync())!;
        Assert.Equal(("2", 2U), (GroupStream.ValuesOf(again).Single().Value, again.Attempt));
        var late = await second.AckAsync(delivery, first: 2);
        Assert.Equal((5U, Reason.LeaseLost, 1U), (late.Status, late.Reason, late.Lost));
        Assert.Equal(0U, (await second.AckAsync(again)).Status);
        Assert.Equal(0U, (await second.AckAsync(again)).Status);
        Assert.Null(await second.NextAsync(0.3));
    }

    [Fact]
    public async Task A_nack_waits_as_long_as_it_says_or_as_the_group_does()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        await MakeAsync(admin, "g", new GroupConfig
        {
            Filters = { "a" },
            BackOff = new BackOff { WaitMs = { 1_000 } },
        });
        await PublishAsync(brokers.Channels[0], "a", "0");
        await using var stream = await GroupStream.OpenAsync(brokers.Channels[0], "g");
        var delivery = (await stream.NextAsync())!;
        var watch = System.Diagnostics.Stopwatch.StartNew();
        Assert.Equal(0U, (await stream.NackAsync(delivery, delayMs: 0)).Status);
        delivery = (await stream.NextAsync())!;
        watch.Restart();
        Assert.Equal(0U, (await stream.NackAsync(delivery)).Status);
        delivery = (await stream.NextAsync())!;
        Assert.InRange(watch.ElapsedMilliseconds, 900, 10_000);
        watch.Restart();
        Assert.Equal(0U, (await stream.NackAsync(delivery, delayMs: 500)).Status);
        delivery = (await stream.NextAsync())!;
        Assert.InRange(watch.ElapsedMilliseconds, 450, 10_000);
        Assert.Equal(4U, delivery.Attempt);
        Assert.Equal(0U, (await stream.AckAsync(delivery)).Status);
    }

    [Fact]
    public async Task A_group_goes_where_it_is_told_and_leases_of_before_are_void()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        var admin = new Admin.AdminClient(brokers.Channels[2]);
        await using var stream = await GroupStream.OpenAsync(brokers.Channels[0], "g", "a", "b");
        await PublishAsync(brokers.Channels[0], "a", "0", "1", "2");
        await PublishAsync(brokers.Channels[0], "b", "0", "1");
        await stream.TakeAsync(5);
        await Task.Delay(20, Test);
        var time = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
        await Task.Delay(20, Test);
        await PublishAsync(brokers.Channels[0], "a", "3", "4");
        var held = (await stream.NextAsync())!;
        Assert.Equal(3, held.BaseOffset);

        async Task<IReadOnlyList<GroupProgress>> SeekAsync(SeekGroupRequest request)
        {
            request.Name = "g";
            return (await admin.SeekGroupAsync(request, cancellationToken: Test)).Progress;
        }

        var moved = Assert.Single(await SeekAsync(new SeekGroupRequest { Topic = "a", Offset = 1 }));
        Assert.Equal(("a", 1L, 5L), (moved.Topic, moved.AckFloor, moved.NextOffset));
        var late = await stream.AckAsync(held);
        Assert.Equal((5U, Reason.LeaseLost), (late.Status, late.Reason));
        Assert.Equal([1L, 2, 3, 4], (await stream.TakeAsync(4)).Select(static each => each.Offset).Order());
        await SeekAsync(new SeekGroupRequest { Topic = "a", TimeUnixMs = time });
        Assert.Equal([3L, 4], (await stream.TakeAsync(2)).Select(static each => each.Offset).Order());
        Assert.Equal(2, (await SeekAsync(new SeekGroupRequest { Position = StartPosition.Beginning })).Count);
        Assert.Equal(7, (await stream.TakeAsync(7, ack: false)).Count);
        await SeekAsync(new SeekGroupRequest { Position = StartPosition.End });
        Assert.Null(await stream.NextAsync(0.3));
        await RefusedAsync(StatusCode.OutOfRange, "OFFSET_BEYOND_END", () => admin.SeekGroupAsync(
            new SeekGroupRequest { Name = "g", Topic = "a", Offset = 6 }, cancellationToken: Test).ResponseAsync);
    }

    [Fact]
    public async Task A_paused_group_is_delivered_nothing_and_one_that_is_deleted_ends_its_streams()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        var streams = await Task.WhenAll(brokers.Channels.Select(
            static channel => GroupStream.OpenAsync(channel, "g", "a.*.foo", "a.foo.*")));
        await admin.UpdateGroupAsync(
            new UpdateGroupRequest { Name = "g", Config = new GroupConfig { Paused = true } }, cancellationToken: Test);
        await Task.Delay(2_000, Test);
        await PublishAsync(brokers.Channels[0], "a.foo.foo", "once");
        var waits = await Task.WhenAll(streams.Select(static each => each.NextAsync(0.3)));
        Assert.All(waits, Assert.Null);
        await admin.UpdateGroupAsync(
            new UpdateGroupRequest { Name = "g", Config = new GroupConfig { Paused = false } },
            cancellationToken: Test);
        var came = await Task.WhenAll(streams.Select(static each => each.NextAsync(5)));
        Assert.Equal("a.foo.foo", Assert.Single(came, static each => each is not null)!.Topic);

        await admin.DeleteGroupAsync(new DeleteGroupRequest { Name = "g" }, cancellationToken: Test);
        foreach (var stream in streams)
        {
            var end = await stream.EndAsync();
            Assert.Equal((StatusCode.NotFound, "GROUP_DELETED"), (end.StatusCode, ReasonOf(end)));
            await stream.DisposeAsync();
        }

        // Another one of its name begins anew.
        await using var next = await GroupStream.OpenAsync(brokers.Channels[1], "g", "a.>");
        Assert.Equal("once", Assert.Single(await next.TakeAsync(1)).Value);
    }

    /// <summary>
    /// The lease of what its consumer had ended a second later, the record was given to a consumer that was gone, and
    /// all groups of the shard began anew.
    /// </summary>
    [Fact]
    public async Task A_group_that_was_deleted_does_not_disturb_the_others_of_its_shards()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        await MakeAsync(admin, "gone", new GroupConfig { Filters = { "a" }, AckWaitMs = 1_000 });
        await MakeAsync(admin, "other", new GroupConfig { Filters = { "a" } });
        await using var gone = await GroupStream.OpenAsync(brokers.Channels[0], "gone");
        await using var other = await GroupStream.OpenAsync(brokers.Channels[1], "other");
        await PublishAsync(brokers.Channels[0], "a", "before");
        Assert.NotNull(await gone.NextAsync());
        await other.TakeAsync(1);
        await admin.DeleteGroupAsync(new DeleteGroupRequest { Name = "gone" }, cancellationToken: Test);
        Assert.Equal("GROUP_DELETED", ReasonOf(await gone.EndAsync()));
        await Task.Delay(2_000, Test);
        await PublishAsync(brokers.Channels[0], "a", "after");
        Assert.Equal("after", Assert.Single(await other.TakeAsync(1)).Value);
    }

    [Fact]
    public async Task A_group_that_begins_at_the_end_gets_what_is_published_when_it_is_made()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        for (var round = 0; round < 10; round++)
        {
            await PublishAsync(brokers.Channels[0], "a", "before");
            await MakeAsync(new Admin.AdminClient(brokers.Channels[round % 3]), $"g{round}", new GroupConfig
            {
                Filters = { "a" },
                Position = StartPosition.End,
            });
            await PublishAsync(brokers.Channels[(round + 1) % 3], "a", $"{round}");
            await using var stream = await GroupStream.OpenAsync(brokers.Channels[(round + 2) % 3], $"g{round}");
            Assert.Equal($"{round}", Assert.Single(await stream.TakeAsync(1)).Value);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task A_simple_client_fetches_and_settles_call_by_call(int nodes)
    {
        await using var brokers = await BrokerProcesses.StartAsync(nodes);
        Protocol.V1.Broker.BrokerClient At(int i) => new(brokers.Channels[i % nodes]);
        var fetch = new FetchRequest { Group = "g", Filters = { "a.>" }, WaitMs = 200 };
        Assert.Empty((await At(0).FetchAsync(fetch, cancellationToken: Test)).Deliveries);
        for (var i = 0; i < 30; i++)
        {
            await PublishAsync(brokers.Channels[i % nodes], $"a.{i % 4}", $"{i}");
        }

        var seen = new List<string>();
        for (var i = 0; seen.Count < 30; i++)
        {
            fetch = new FetchRequest { Group = "g", MaxRecords = 7, WaitMs = 10_000 };
            var fetched = await At(i).FetchAsync(fetch, cancellationToken: Test);
            Assert.Equal(30_000UL, fetched.AckWaitMs);
            Assert.InRange(fetched.Deliveries.Sum(static each => each.Count), 1, 7);
            seen.AddRange(fetched.Deliveries.SelectMany(GroupStream.ValuesOf).Select(static each => each.Value));
            var settle = new SettleRequest();
            settle.Settlements.AddRange(fetched.Deliveries.Select(static each => new Settlement
            {
                Ack = new Ack { Ranges = { GroupStream.RangeOf(each.Token) } },
            }));
            var settled = await At(i + 1).SettleAsync(settle, cancellationToken: Test);
            Assert.All(settled.Results, static each => Assert.Equal(0U, each.Status));
        }

        Assert.Equal(Enumerable.Range(0, 30).Select(i => $"{i}").Order(), seen.Order());
        Assert.Empty((await At(0).FetchAsync(
            new FetchRequest { Group = "g" }, cancellationToken: Test)).Deliveries);
        await RefusedAsync(StatusCode.NotFound, "NOT_FOUND", () => At(0).FetchAsync(
            new FetchRequest { Group = "never" }, cancellationToken: Test).ResponseAsync);
        await RefusedAsync(StatusCode.InvalidArgument, "INVALID_REQUEST", () => At(0).SettleAsync(
            new SettleRequest(), cancellationToken: Test).ResponseAsync);
        await RefusedAsync(StatusCode.InvalidArgument, "INVALID_REQUEST", () => At(0).SettleAsync(
            new SettleRequest { Settlements = { new Settlement() } }, cancellationToken: Test).ResponseAsync);
    }

    [Fact]
    public async Task A_fetch_is_no_larger_than_a_default_client_takes()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        var client = new Protocol.V1.Broker.BrokerClient(brokers.Channels[0]);
        var large = new string('x', 900_000);
        for (var i = 0; i < 12; i++)
        {
            await PublishAsync(brokers.Channels[0], $"a.{i}", large);
        }

        var records = 0L;
        while (records < 12)
        {
            var fetched = await client.FetchAsync(
                new FetchRequest
                {
                    Group = "g",
                    Filters = { "a.>" },
                    MaxRecords = 1_000,
                    MaxBytes = ulong.MaxValue,
                    WaitMs = 10_000,
                },
                cancellationToken: Test);
            var count = fetched.Deliveries.Sum(static each => each.Count);
            Assert.True(count > 0, "there is something");
            records += count;
            var settle = new Settlement { Ack = new Ack() };
            settle.Ack.Ranges.AddRange(fetched.Deliveries.Select(static each => GroupStream.RangeOf(each.Token)));
            await client.SettleAsync(new SettleRequest { Settlements = { settle } }, cancellationToken: Test);
        }

        Assert.Equal(12, records);
    }

    [Fact]
    public async Task A_consumer_that_settles_nothing_does_not_hold_up_others_and_goes_on_when_its_leases_end()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        var channel = brokers.Channels[0];
        await MakeAsync(new Admin.AdminClient(channel), "g", new GroupConfig { Filters = { "a" }, AckWaitMs = 6_000 });
        await using var stuck = await GroupStream.OpenAsync(
            channel, new ConsumeOpen { Group = "g", Credit = new Credit { Records = 10, Bytes = 1_000_000 } });

        // A stream is open before the shard's leader knows of it. So the stuck one has its part before another comes.
        await PublishAsync(channel, "a", [.. Enumerable.Range(0, 100).Select(static each => $"{each}")]);
        var held = 0U;
        while (held < 10)
        {
            var delivery = await stuck.NextAsync();
            Assert.True(delivery is not null, $"{held} records came");
            held += delivery.Count;
        }

        Assert.Equal(10U, held);
        await using var works = await GroupStream.OpenAsync(channel, "g");
        for (var i = 100; i < 1_000; i += 100)
        {
            await PublishAsync(channel, "a", [.. Enumerable.Range(i, 100).Select(static each => $"{each}")]);
        }

        // The server keeps this one's credit: it gets far more than its window, and what the other one holds at last.
        var seen = new HashSet<long>();
        while (seen.Count < 1_000)
        {
            seen.UnionWith((await works.TakeAsync(1)).Select(static each => each.Offset));
        }
    }

    private static async Task MakeAsync(Admin.AdminClient admin, string name, GroupConfig config) =>
        await admin.CreateGroupAsync(new CreateGroupRequest { Name = name, Config = config }, cancellationToken: Test);

    private static async Task<List<DeadLetter>> DeadLettersAsync(
        Admin.AdminClient admin, string group, uint pageSize = 0)
    {
        var letters = new List<DeadLetter>();
        var request = new ListDeadLettersRequest { Group = group, PageSize = pageSize };
        do
        {
            var page = await admin.ListDeadLettersAsync(request, cancellationToken: Test);
            Assert.True(pageSize == 0 || page.DeadLetters.Count <= pageSize);
            letters.AddRange(page.DeadLetters);
            request.PageToken = page.NextPageToken;
        }
        while (request.PageToken.Length > 0);
        return letters;
    }
}
