using System.Globalization;
using System.Text;
using Broker.Client;
using Broker.Protocol.V1;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Xunit;
using GroupMode = Broker.Protocol.V1.GroupMode;
using GroupOrder = Broker.Protocol.V1.GroupOrder;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Interop;

/// <summary>Records that groups are to get at a later time, at real nodes. All clocks are one.</summary>
public sealed class DelayedDeliveryTests
{
    private static CancellationToken Test => TestContext.Current.CancellationToken;

    private static long NowMs => TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task A_group_gets_each_record_when_it_is_due_not_before_and_once(int nodes)
    {
        await using var brokers = await BrokerProcesses.StartAsync(nodes);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        await CreateGroupAsync(admin, new GroupConfig { Filters = { "a" } });
        await using var stream = await GroupStream.OpenAsync(brokers.Channels[0], "g");

        // Those that are never due stand before the others, which they must not hold up.
        var begun = NowMs;
        long[] due =
        [
            begun + (60L * 24 * 3_600_000), begun + (1L << 32), long.MaxValue, 0, begun + 2_000, 1, begun + 1_000,
            begun + 2_000,
        ];
        await PublishAsync(brokers.Channels[^1], "a", due);
        var seen = new List<(long Offset, long AtMs)>();
        while (seen.Count < 5)
        {
            var delivery = (await stream.NextAsync())!;
            seen.AddRange(GroupStream.ValuesOf(delivery).Select(static each => (each.Offset, NowMs)));
            Assert.All(GroupStream.ValuesOf(delivery), static each => Assert.Equal($"{each.Offset}", each.Value));
            Assert.Equal(1U, delivery.Attempt);
            Assert.Equal(0U, (await stream.AckAsync(delivery)).Status);
        }

        Assert.Equal([3, 5, 6, 4, 7], seen.Select(static each => each.Offset));
        Assert.All(seen, each => Assert.True(each.AtMs >= due[each.Offset], $"{each} is due at {due[each.Offset]}"));
        Assert.Null(await stream.NextAsync(0.5));

        // Nothing is left but what is to come; reads have had all of it from the beginning.
        await Eventually.HoldsAsync(
            async () => (await ProgressAsync(admin)) is { AckFloor: 8, LagRecords: 0, Outstanding: 0 },
            () => "all is settled");
        Assert.Equal(8, await ForeignCalls.CountAsync(
            brokers.Channels[0], new ReadRequest { Topic = "a", Linearizable = true }));
        Assert.Equal([(0, due[0]), (1, due[1]), (2, long.MaxValue)], await ListAsync(brokers.Channels[^1]));
        Assert.Equal(["a"], (await admin.ListTopicsAsync(new ListTopicsRequest(), cancellationToken: Test)).Topics
            .Select(static topic => topic.Name));
    }

    [Fact]
    public async Task What_is_cancelled_purged_or_deleted_does_not_come()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        await CreateGroupAsync(admin, new GroupConfig { Filters = { "a" } });
        await using var stream = await GroupStream.OpenAsync(brokers.Channels[1], "g");
        var due = NowMs + 3_000;
        await PublishAsync(brokers.Channels[0], "a", Enumerable.Repeat(due, 10));
        await PublishAsync(brokers.Channels[0], "b", Enumerable.Repeat(due, 10));
        var cancel = new CancelDelayedRequest { Topic = "a", Offsets = { 7, 2, 7, 99 } };
        var other = new Admin.AdminClient(brokers.Channels[2]);
        Assert.Equal(2U, (await other.CancelDelayedAsync(cancel, cancellationToken: Test)).Count);
        Assert.Equal(0U, (await other.CancelDelayedAsync(cancel, cancellationToken: Test)).Count);
        await admin.PurgeTopicAsync(new PurgeTopicRequest { Name = "a", BeforeOffset = 2 }, cancellationToken: Test);
        await admin.DeleteTopicAsync(new DeleteTopicRequest { Name = "b" }, cancellationToken: Test);
        long[] left = [3, 4, 5, 6, 8, 9];
        Assert.Equal(left.Select(offset => (offset, due)), await ListAsync(brokers.Channels[1], pageSize: 4));
        Assert.Equal(
            left.Select(static offset => ("a", offset, $"{offset}")), (await stream.TakeAsync(6)).Order());
        Assert.True(NowMs >= due);
        Assert.Null(await stream.NextAsync(0.5));
        Assert.Empty(await ListAsync(brokers.Channels[0]));
        var gone = await Assert.ThrowsAsync<RpcException>(async () => await admin.ListDelayedAsync(
            new ListDelayedRequest { Topic = "b" }, cancellationToken: Test));
        Assert.Equal(StatusCode.NotFound, gone.StatusCode);

        // What came to be under its name since has nothing of it.
        await PublishAsync(brokers.Channels[0], "b", [0, NowMs + 3_600_000]);
        Assert.Equal(1, (await other.ListDelayedAsync(
            new ListDelayedRequest { Topic = "b" }, cancellationToken: Test)).Records.Single().Offset);
    }

    [Theory]
    [InlineData(GroupMode.KeyOrdered, GroupOrder.Offset)]
    [InlineData(GroupMode.Shared, GroupOrder.Priority)]
    [InlineData(GroupMode.Exclusive, GroupOrder.Offset)]
    public async Task A_group_of_any_mode_gets_what_is_due_again_if_need_be_and_as_a_dead_letter(
        GroupMode mode, GroupOrder order)
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        await CreateGroupAsync(admin, new GroupConfig
        {
            Filters = { "a" },
            Mode = mode,
            Order = order,
            AckWaitMs = 60_000,
        });
        var due = NowMs + 500;
        await PublishAsync(brokers.Channels[0], "a", [0, due, due, due, due + 200]);
        await using var stream = await GroupStream.OpenAsync(brokers.Channels[0], "g");
        Assert.Equal(("a", 0L, "0"), Assert.Single(await stream.TakeAsync(1)));

        // Offset 1 is nacked once, 2 dies, the others are finished; what is sent on its way again is the record itself.
        var (finished, nacked, dead) = (new List<long>(), 0, 0);
        while (finished.Count < 4)
        {
            var delivery = (await stream.NextAsync())!;
            Assert.Equal(1U, delivery.Count);
            Assert.True(NowMs >= due);
            if (delivery.BaseOffset == 1 && nacked++ == 0)
            {
                await stream.NackAsync(delivery, 0);
            }
            else if (delivery.BaseOffset == 2 && dead++ == 0)
            {
                Assert.Equal(0U, (await stream.TerminateAsync(delivery, "no")).Status);
                await Eventually.HoldsAsync(() => RedriveAsync(admin), () => "the dead letter is redriven");
            }
            else
            {
                Assert.Equal(delivery.BaseOffset == 1 ? 2U : 1U, delivery.Attempt);
                Assert.Equal(0U, (await stream.AckAsync(delivery)).Status);
                finished.AddRange(GroupStream.ValuesOf(delivery).Select(static each => each.Offset));
            }
        }

        Assert.Equal([1, 2, 3, 4], finished.Order());
        Assert.Null(await stream.NextAsync(0.3));
    }

    [Fact]
    public async Task Partitions_have_schedules_of_their_own_and_a_group_that_comes_later_gets_what_is_due_then()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        await client.CreateTopicAsync("a", new TopicSettings { Partitions = 4 }, cancellationToken: Test);
        var due = DateTimeOffset.FromUnixTimeMilliseconds(NowMs + 4_000);
        static BrokerMessage Message(int partition, DateTimeOffset? due) => new()
        {
            Partition = partition,
            Value = Encoding.UTF8.GetBytes($"{partition}"),
            DeliverAt = due,
        };
        for (var partition = 0; partition < 4; partition++)
        {
            Assert.Equal(0, (await client.PublishAsync("a", Message(partition, due), Test)).Offset);
            Assert.Equal(1, (await client.PublishAsync("a", Message(partition, due.AddDays(1)), Test)).Offset);
        }

        var expected = Enumerable.Range(0, 8).Select(each =>
            new DelayedMessage(each / 2, each % 2, due.AddDays(each % 2))).ToList();
        Assert.Equal(expected, await client.ListDelayedAsync("a", cancellationToken: Test).ToListAsync(Test));
        Assert.Equal(1, await client.CancelDelayedAsync("a", [1], partition: 3, Test));
        Assert.Equal(
            expected[6..7], await client.ListDelayedAsync("a", partition: 3, Test).ToListAsync(Test));
        await client.CreateGroupAsync(
            "g", new GroupSettings { Filters = ["a"] }, GroupPlace.End, cancellationToken: Test);
        await using var consumer = await client.ConsumeAsync("g", cancellationToken: Test);
        var came = new List<(int, long, DateTimeOffset?)>();
        await foreach (var record in consumer.WithCancellation(Test))
        {
            Assert.True(NowMs >= due.ToUnixTimeMilliseconds());
            came.Add((record.Record.Partition, record.Record.Offset, record.Record.DeliverAt));
            Assert.True(await record.AckAsync(Test));
            if (came.Count == 4)
            {
                break;
            }
        }

        Assert.Equal(Enumerable.Range(0, 4).Select(each => (each, 0L, (DateTimeOffset?)due)), came.Order());
        Assert.Equal(3, await client.ListDelayedAsync("a", cancellationToken: Test).CountAsync(Test));
        var refused = await Assert.ThrowsAsync<BrokerClientException>(async () => await client.PublishAsync(
            "a", Message(0, DateTimeOffset.UnixEpoch.AddSeconds(-1)), Test));
        Assert.Equal(BrokerClientErrorCode.InvalidArgument, refused.Code);
    }

    [Fact]
    public async Task A_seek_brings_back_what_was_due_and_a_time_to_live_counts_from_then()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        await CreateGroupAsync(admin, new GroupConfig { Filters = { "a" } });
        var due = NowMs + 500;
        await PublishAsync(brokers.Channels[0], "a", [due, due], ttlMs: 60_000);
        await PublishAsync(brokers.Channels[0], "a", [due], ttlMs: 1);
        await using var stream = await GroupStream.OpenAsync(brokers.Channels[0], "g");
        (string, long, string)[] both = [("a", 0, "0"), ("a", 1, "1")];
        Assert.Equal(both, (await stream.TakeAsync(2)).Order());
        await Eventually.HoldsAsync(
            async () => (await ProgressAsync(admin)) is { AckFloor: 3, LagRecords: 0 }, () => "all is settled");
        await admin.SeekGroupAsync(
            new SeekGroupRequest { Name = "g", Position = StartPosition.Beginning }, cancellationToken: Test);
        Assert.Equal(both, (await stream.TakeAsync(2)).Order());
        Assert.Null(await stream.NextAsync(0.3));
    }

    [Fact]
    public async Task What_comes_due_while_all_brokers_are_down_comes_once_when_they_are_back()
    {
        await using var brokers = new KilledBrokers();
        await brokers.FormAsync();
        await using (var client = brokers.Connect(1, 2, 3))
        {
            await client.CreateGroupAsync("g", new GroupSettings { Filters = ["a"] }, cancellationToken: Test);
            for (var number = 0; number < 20; number++)
            {
                await client.PublishAsync("a", DueIn(number, number < 10 ? 5 : 3_600), Test);
            }
        }

        await brokers.KillAllAsync();
        await Task.Delay(TimeSpan.FromSeconds(5), Test);
        brokers.StartAll();
        await brokers.BecomesHealthyAsync(1, 2, 3);
        using var channel = GrpcChannel.ForAddress(brokers.GrpcOf(1));
        await using (var stream = await GroupStream.OpenAsync(channel, "g"))
        {
            Assert.Equal(
                Enumerable.Range(0, 10).Select(static each => (long)each),
                (await stream.TakeAsync(10)).Select(static each => each.Offset).Order());
            Assert.Null(await stream.NextAsync(1));
        }

        // Once means also: not again, and the rest stays, when the next start reads all of it from the disks.
        await brokers.KillAllAsync();
        brokers.StartAll();
        await brokers.BecomesHealthyAsync(1, 2, 3);
        using var again = GrpcChannel.ForAddress(brokers.GrpcOf(2));
        await using var late = await GroupStream.OpenAsync(again, "g");
        Assert.Null(await late.NextAsync(1));
        Assert.Equal(
            Enumerable.Range(10, 10).Select(static each => (long)each),
            (await ListAsync(again)).Select(static each => each.Offset));
    }

    [Fact]
    public async Task A_schedule_goes_on_when_its_leader_is_killed()
    {
        const int Records = 200;
        await using var brokers = new KilledBrokers();
        await brokers.FormAsync();
        await using var client = brokers.Connect(1, 2, 3);
        await client.CreateGroupAsync(
            "g",
            new GroupSettings { Filters = ["a"], AckWait = TimeSpan.FromSeconds(2), MaxDeliveries = 0 },
            cancellationToken: Test);
        var begun = NowMs;
        var due = Enumerable.Range(0, Records).Select(each => begun + 1_000 + (each * 40L)).ToArray();
        await Task.WhenAll(due.Select((at, number) => client.PublishAsync("a", DueAt(number, at), Test).AsTask()));

        var finished = new HashSet<long>();
        var consuming = ConsumeAsync();
        await Task.Delay(2_500, Test);
        await brokers.KillAsync(KilledBrokers.TopicLeader);
        await Task.Delay(2_500, Test);
        brokers.Start(KilledBrokers.TopicLeader);
        await consuming.WaitAsync(TimeSpan.FromMinutes(2), Test);
        Assert.Empty(await client.ListDelayedAsync("a", cancellationToken: Test).ToListAsync(Test));
        await Eventually.HoldsAsync(
            async () => (await client.DescribeGroupAsync("g", Test)).Progress.Single() is { Lag: 0, AckFloor: Records },
            () => "all is settled",
            60);

        async Task ConsumeAsync()
        {
            await using var consumer = await client.ConsumeAsync("g", cancellationToken: Test);
            await foreach (var record in consumer.WithCancellation(Test))
            {
                var number = int.Parse(Encoding.UTF8.GetString(record.Record.Value.Span), CultureInfo.InvariantCulture);
                Assert.True(NowMs >= due[number], $"{number} came before it was due");

                // What was acknowledged does not come again, whoever leads.
                Assert.DoesNotContain(record.Record.Offset, finished);
                if (await record.AckAsync(Test) && finished.Add(record.Record.Offset) && finished.Count == Records)
                {
                    return;
                }
            }
        }
    }

    private static BrokerMessage DueIn(int number, int seconds) => DueAt(number, NowMs + (seconds * 1_000L));

    private static BrokerMessage DueAt(int number, long unixMs) => new()
    {
        Value = Encoding.UTF8.GetBytes($"{number}"),
        DeliverAt = DateTimeOffset.FromUnixTimeMilliseconds(unixMs),
    };

    private static async Task<bool> RedriveAsync(Admin.AdminClient admin) => (await admin.RedriveDeadLettersAsync(
        new RedriveDeadLettersRequest { Group = "g" }, cancellationToken: Test)).Count == 1;

    private static async Task CreateGroupAsync(Admin.AdminClient admin, GroupConfig config) =>
        await admin.CreateGroupAsync(
            new CreateGroupRequest { Name = "g", Config = config }, cancellationToken: Test);

    private static async Task<GroupProgress> ProgressAsync(Admin.AdminClient admin) => Assert.Single(
        (await admin.DescribeGroupAsync(new DescribeGroupRequest { Name = "g" }, cancellationToken: Test)).Progress);

    private static async Task<List<(long Offset, long DueMs)>> ListAsync(GrpcChannel channel, uint pageSize = 0)
    {
        var found = new List<(long, long)>();
        var request = new ListDelayedRequest { Topic = "a", PageSize = pageSize };
        do
        {
            var page = await new Admin.AdminClient(channel).ListDelayedAsync(request, cancellationToken: Test);
            Assert.True(pageSize == 0 || page.Records.Count <= pageSize);
            found.AddRange(page.Records.Select(static each => (each.Offset, each.DeliverAtUnixMs)));
            request.PageToken = page.NextPageToken;
        }
        while (request.PageToken.Length > 0);
        return found;
    }

    /// <summary>One batch; each record's value is its place in it.</summary>
    private static async Task PublishAsync(
        GrpcChannel channel, string topic, IEnumerable<long> dueMs, ulong ttlMs = 0)
    {
        var batch = new RecordBatch();
        batch.Records.AddRange(dueMs.Select((due, i) => new Record
        {
            DeliverAtUnixMs = due,
            TtlMs = ttlMs,
            Key = ByteString.CopyFromUtf8($"{i % 2}"),
            Value = ByteString.CopyFromUtf8($"{i}"),
        }));
        await new Protocol.V1.Broker.BrokerClient(channel).PublishAsync(
            new PublishRequest { Topic = topic, Batch = batch }, cancellationToken: Test);
    }
}
