using System.Text;
using Broker.Client;
using Broker.Protocol.V1;
using Google.Protobuf;
using Grpc.Net.Client;
using Xunit;
using GroupDelivery = Broker.Protocol.V1.Delivery;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Interop;

/// <summary>Records that are worth delivering for some time only, at real nodes.</summary>
public sealed class TimeToLiveTests
{
    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task Groups_skip_records_whose_time_is_over_and_reads_return_them(int nodes)
    {
        await using var brokers = await BrokerProcesses.StartAsync(nodes);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        await admin.CreateGroupAsync(
            new CreateGroupRequest { Name = "g", Config = new GroupConfig { Filters = { "a" } } },
            cancellationToken: Test);

        // Nobody consumes while the time of every second one passes.
        await PublishAsync(
            brokers.Channels[^1], Enumerable.Range(0, 100).Select(static i => (i % 2 == 0 ? 200UL : 0, $"{i}")));
        await PublishAsync(brokers.Channels[^1], [(200, "100"), (3_600_000, "101"), (ulong.MaxValue, "102")]);
        await Task.Delay(400, Test);
        var expected = Enumerable.Range(0, 101).Where(static i => i % 2 == 1).Concat([101, 102])
            .Select(static i => ("a", (long)i, $"{i}")).ToList();
        await using var stream = await GroupStream.OpenAsync(brokers.Channels[0], "g");
        Assert.Equal(expected, (await stream.TakeAsync(expected.Count)).Order());
        Assert.Null(await stream.NextAsync(0.3));

        // The floor has passed them all.
        await Eventually.HoldsAsync(
            async () => (await ProgressAsync(admin)).AckFloor == 103, () => "all is settled");
        var progress = await ProgressAsync(admin);
        Assert.Equal((0L, 0U), (progress.LagRecords, progress.Outstanding));
        if (nodes == 1)
        {
            Assert.Equal(51UL, progress.Expired);
        }

        Assert.Equal(103, await ForeignCalls.CountAsync(
            brokers.Channels[0], new ReadRequest { Topic = "a", Linearizable = true }));
    }

    [Fact]
    public async Task A_record_that_was_delivered_in_time_may_be_settled_and_does_not_come_again_after_it()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        await admin.CreateGroupAsync(
            new CreateGroupRequest
            {
                Name = "g",
                Config = new GroupConfig { Filters = { "a" }, AckWaitMs = 60_000 },
            },
            cancellationToken: Test);
        await using var stream = await GroupStream.OpenAsync(brokers.Channels[0], "g");
        await PublishAsync(brokers.Channels[0], [(4_000, "acked"), (0, "lives"), (4_000, "nacked")]);
        var deliveries = new List<GroupDelivery>();
        while (deliveries.Sum(static each => each.Batch.Records.Count) < 3)
        {
            deliveries.Add((await stream.NextAsync())!);
        }

        Assert.Equal(
            ["acked", "lives", "nacked"],
            deliveries.SelectMany(GroupStream.ValuesOf).Select(static each => each.Value));

        // In time it comes again as any other.
        var whole = Assert.Single(deliveries);
        async Task NackAsync(GroupDelivery delivery, uint first, ulong delayMs) => Assert.Equal(
            0U,
            (await stream.SettleAsync(correlation => new ConsumeRequest
            {
                Nack = new Nack
                {
                    Correlation = correlation,
                    Ranges = { GroupStream.RangeOf(delivery.Token, first, 1) },
                    DelayMs = delayMs,
                },
            })).Status);
        await NackAsync(whole, 2, 0);
        var again = (await stream.NextAsync())!;
        Assert.Equal((2L, 2U), (again.BaseOffset, again.Attempt));

        // It is due again when its time is over: then it is settled. What has none comes.
        await NackAsync(again, 0, 5_000);
        await NackAsync(whole, 1, 5_000);
        await Eventually.HoldsAsync(
            async () => (await ProgressAsync(admin)).Expired == 1, () => "the nacked one has expired", 30);
        Assert.Equal(("a", 1L, "lives"), Assert.Single(await stream.TakeAsync(1)));
        var progress = await ProgressAsync(admin);
        Assert.Equal((0L, 1L, 1U), (progress.AckFloor, progress.LagRecords, progress.Outstanding));

        // Its time is over too, but it was sent in time.
        Assert.Equal(0U, (await stream.AckAsync(whole, 0, 1)).Status);
        await Eventually.HoldsAsync(
            async () => (await ProgressAsync(admin)).AckFloor == 3, () => "all is settled");
        Assert.Null(await stream.NextAsync(0.3));
    }

    [Fact]
    public async Task Many_records_whose_time_is_over_do_not_keep_fresh_ones_out()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        await admin.CreateGroupAsync(
            new CreateGroupRequest
            {
                Name = "g",
                Config = new GroupConfig { Filters = { "a" }, MaxOutstanding = 1_000 },
            },
            cancellationToken: Test);
        for (var i = 0; i < 12; i++)
        {
            await PublishAsync(brokers.Channels[0], Enumerable.Repeat((1UL, "old"), 10_000));
        }

        await PublishAsync(brokers.Channels[0], [(0, "fresh")]);
        await using var stream = await GroupStream.OpenAsync(brokers.Channels[0], "g");
        Assert.Equal(("a", 120_000L, "fresh"), Assert.Single(await stream.TakeAsync(1)));
        await Eventually.HoldsAsync(
            async () => (await ProgressAsync(admin)) is { AckFloor: 120_001, Expired: 120_000 },
            () => "all is settled",
            60);
    }

    [Fact]
    public async Task The_client_gives_a_message_its_time_and_a_dead_letter_has_none()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        await client.CreateGroupAsync(
            "g", new GroupSettings { Filters = ["a"], MaxDeliveries = 0 }, cancellationToken: Test);
        var time = TimeSpan.FromSeconds(3);
        static BrokerMessage Message(string value, TimeSpan? time) =>
            new() { Value = Encoding.UTF8.GetBytes(value), TimeToLive = time };
        await client.PublishAsync("a", Message("over", TimeSpan.FromMilliseconds(1)), Test);
        await client.PublishAsync("a", Message("dies", time), Test);
        await Task.Delay(50, Test);
        await using var consumer = await client.ConsumeAsync("g", cancellationToken: Test);
        await using var records = consumer.GetAsyncEnumerator(Test);
        Assert.True(await records.MoveNextAsync());
        var record = records.Current.Record;
        Assert.Equal(("dies", time), (Encoding.UTF8.GetString(record.Value.Span), record.TimeToLive));
        Assert.True(await records.Current.TerminateAsync("no", Test));

        // Whoever sends it on its way again wants it delivered, however late.
        var letter = Assert.Single(await client.ListDeadLettersAsync("g", Test).ToListAsync(Test));
        await Task.Delay(time, Test);
        Assert.Equal(1, await client.RedriveDeadLettersAsync("g", [letter.Position], cancellationToken: Test));
        Assert.True(await records.MoveNextAsync());
        Assert.Equal((1L, null), (records.Current.Record.Offset, records.Current.Record.TimeToLive));
        Assert.True(await records.Current.AckAsync(Test));
        var refused = await Assert.ThrowsAsync<BrokerClientException>(async () =>
            await client.PublishAsync("a", Message("never", TimeSpan.Zero), Test));
        Assert.Contains("time to live", refused.Message, StringComparison.Ordinal);
    }

    private static async Task<GroupProgress> ProgressAsync(Admin.AdminClient admin) => Assert.Single(
        (await admin.DescribeGroupAsync(new DescribeGroupRequest { Name = "g" }, cancellationToken: Test)).Progress);

    private static async Task PublishAsync(GrpcChannel channel, IEnumerable<(ulong TtlMs, string Value)> records)
    {
        var batch = new RecordBatch();
        batch.Records.AddRange(records.Select(static each =>
            new Record { TtlMs = each.TtlMs, Value = ByteString.CopyFromUtf8(each.Value) }));
        await new Protocol.V1.Broker.BrokerClient(channel).PublishAsync(
            new PublishRequest { Topic = "a", Batch = batch }, cancellationToken: Test);
    }
}
