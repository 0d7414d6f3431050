using System.Collections.Concurrent;
using System.Diagnostics;
using Broker.Protocol.V1;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Xunit;
using static Broker.Tests.Interop.ForeignCalls;
using GroupDelivery = Broker.Protocol.V1.Delivery;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Interop;

/// <summary>What operators see of consumer groups and do with them, at real nodes.</summary>
public sealed class ConsumerGroupOperatorTests
{
    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Dead_letters_are_redriven_at_a_rate_while_the_group_consumes()
    {
        const int Topics = 4;
        const int PerTopic = 500;
        const int Rate = 500;
        await using var brokers = await BrokerProcesses.StartAsync(1);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        await PublishAsync(brokers.Channels[0], Topics, PerTopic);
        await using var stream = await GroupStream.OpenAsync(brokers.Channels[0], "g", "t.*");
        await TerminateAsync(stream, Topics * PerTopic);

        var clock = Stopwatch.StartNew();
        var redriving = RedriveAsync(admin, new RedriveDeadLettersRequest { Group = "g", Rate = Rate });
        var ended = redriving.ContinueWith(_ => clock.Elapsed, TaskScheduler.Default);
        var came = new HashSet<(string, long)>();
        while (came.Count < Topics * PerTopic)
        {
            var delivery = await stream.NextAsync();
            Assert.True(delivery is not null, $"{came.Count} came again");
            Assert.Equal(1U, delivery.Attempt);
            Assert.All(
                GroupStream.ValuesOf(delivery), each => Assert.True(came.Add((each.Topic, each.Offset)), "comes once"));
            Assert.True(
                came.Count <= Rate * (clock.Elapsed.TotalSeconds + 0.5), $"{came.Count} came in {clock.Elapsed}");
            await stream.SendAsync(
                new ConsumeRequest { Ack = new Ack { Ranges = { GroupStream.RangeOf(delivery.Token) } } });
        }

        Assert.Equal(Topics * PerTopic, await redriving);
        Assert.Null(await stream.NextAsync(0.5));
        var least = TimeSpan.FromSeconds(((double)Topics * PerTopic / Rate) - 0.5);
        Assert.InRange(await ended, least, 5 * least);
        Assert.Equal(0, await DeadLettersAsync(admin));
    }

    [Fact]
    public async Task Ten_thousand_are_redriven_at_their_rate_each_once_and_each_key_in_order_while_others_come()
    {
        const int Topics = 4;
        const int PerTopic = 2_500;
        const int Rate = 500;
        const int Others = 200;
        await using var brokers = await BrokerProcesses.StartAsync(3);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        await PublishAsync(brokers.Channels[0], Topics, PerTopic);
        await admin.CreateGroupAsync(
            new CreateGroupRequest
            {
                Name = "g",
                Config = new GroupConfig { Filters = { "t.*" }, Mode = GroupMode.KeyOrdered },
            },
            cancellationToken: Test);
        await using var stream = await GroupStream.OpenAsync(brokers.Channels[1], "g");
        for (var dead = 0; dead < Topics * PerTopic;)
        {
            var delivery = await stream.NextAsync();
            Assert.True(delivery is not null, $"{dead} came");
            await stream.SendAsync(new ConsumeRequest
            {
                Terminate = new Terminate { Ranges = { GroupStream.RangeOf(delivery.Token) }, Reason = "no good" },
            });
            dead += (int)delivery.Count;
        }

        await Eventually.HoldsAsync(
            async () => await DeadLettersAsync(admin) == Topics * PerTopic, () => "all are dead letters");
        var clock = Stopwatch.StartNew();
        var redriving = RedriveAsync(admin, new RedriveDeadLettersRequest { Group = "g", Rate = Rate });
        var ended = redriving.ContinueWith(_ => clock.Elapsed, TaskScheduler.Default);
        await PublishAsync(brokers.Channels[2], 1, Others);
        var (came, others) = (0, 0);
        var next = new Dictionary<(string Topic, ByteString Key), long>();
        while (came < Topics * PerTopic || others < Others)
        {
            var delivery = await stream.NextAsync();
            Assert.True(delivery is not null, $"{came} came again, and {others} others");
            for (var i = 0; i < delivery.Batch.Records.Count; i++)
            {
                // A dead letter that comes again and one that was published since stand in lines of their own.
                var (offset, key) = (delivery.BaseOffset + i, delivery.Batch.Records[i].Key);
                if (offset >= PerTopic)
                {
                    others++;
                    continue;
                }

                var least = next.GetValueOrDefault((delivery.Topic, key));
                Assert.True(
                    offset >= least, $"{delivery.Topic} {key.ToStringUtf8()}: {offset} comes behind {least - 1}");
                next[(delivery.Topic, key)] = offset + 1;
                came++;
            }

            Assert.True(came <= Rate * (clock.Elapsed.TotalSeconds + 0.5), $"{came} came in {clock.Elapsed}");
            await stream.SendAsync(
                new ConsumeRequest { Ack = new Ack { Ranges = { GroupStream.RangeOf(delivery.Token) } } });
        }

        // Each came once: none is before the one of its key that came last, and there are so many.
        Assert.Equal((Topics * PerTopic, Others), (came, others));
        Assert.Equal(Topics * PerTopic, await redriving);
        Assert.Null(await stream.NextAsync(0.5));
        var length = TimeSpan.FromSeconds((double)Topics * PerTopic / Rate);
        Assert.InRange(await ended, length - TimeSpan.FromSeconds(0.5), 2 * length);
        Assert.Equal(0, await DeadLettersAsync(admin));
    }

    [Fact]
    public async Task After_a_seek_to_a_time_is_answered_members_get_nothing_of_before_and_all_of_after()
    {
        const int PerTopic = 3_000;
        await using var brokers = await BrokerProcesses.StartAsync(3);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        await PublishAsync(brokers.Channels[0], topics: 3, PerTopic);
        await Task.Delay(20, Test);
        var time = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
        await Task.Delay(20, Test);
        await admin.CreateGroupAsync(
            new CreateGroupRequest { Name = "g", Config = new GroupConfig { Filters = { "t.*" } } },
            cancellationToken: Test);
        await using var idle = await GroupStream.OpenAsync(brokers.Channels[0], new ConsumeOpen
        {
            Group = "g",
            Credit = new Credit { Records = 10, Bytes = 1_000_000 },
        });
        var held = (await idle.NextAsync())!;
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Test);
        var seen = new ConcurrentQueue<(string Topic, long Offset, long At)>();
        var members = brokers.Channels.Select(channel => ConsumeAsync(channel, seen, stop.Token)).ToList();
        await PublishAsync(brokers.Channels[1], topics: 3, PerTopic);

        // They are in the middle of what was there before.
        await Eventually.HoldsAsync(() => seen.Count > 100, "the members consume");
        var answer = await admin.SeekGroupAsync(
            new SeekGroupRequest { Name = "g", TimeUnixMs = time }, cancellationToken: Test);
        var answered = Stopwatch.GetTimestamp();

        Assert.Equal([PerTopic, PerTopic, PerTopic], answer.Progress.Select(static each => (int)each.AckFloor));
        Assert.Equal((5U, Reason.LeaseLost), await AckAsync(idle, held));
        await Eventually.HoldsAsync(
            async () => (await admin.DescribeGroupAsync(
                new DescribeGroupRequest { Name = "g" }, cancellationToken: Test)).Group.LagRecords == 0,
            () => "all is settled");
        await stop.CancelAsync();
        await Task.WhenAll(members);

        // What was on its way to a member when the answer was is there in a moment.
        var late = answered + (Stopwatch.Frequency / 5);
        Assert.DoesNotContain(seen, each => each.At > late && each.Offset < PerTopic);
        var after = seen.Where(static each => each.Offset >= PerTopic).Select(static each => (each.Topic, each.Offset));
        Assert.Equal(3 * PerTopic, after.Distinct().Count());
    }

    private static async Task<(uint Status, Reason Reason)> AckAsync(GroupStream stream, GroupDelivery delivery)
    {
        var settled = await stream.AckAsync(delivery);
        return (settled.Status, settled.Reason);
    }

    private static async Task ConsumeAsync(
        GrpcChannel channel, ConcurrentQueue<(string Topic, long Offset, long At)> seen, CancellationToken stop)
    {
        await using var stream = await GroupStream.OpenAsync(channel, "g");
        while (!stop.IsCancellationRequested)
        {
            if (await stream.NextAsync(0.2) is { } delivery)
            {
                foreach (var (topic, offset, _) in GroupStream.ValuesOf(delivery))
                {
                    seen.Enqueue((topic, offset, Stopwatch.GetTimestamp()));
                }

                await stream.SendAsync(
                    new ConsumeRequest { Ack = new Ack { Ranges = { GroupStream.RangeOf(delivery.Token) } } });
            }
        }
    }

    [Fact]
    public async Task A_redrive_goes_on_when_a_leader_is_killed()
    {
        await using var brokers = new KilledBrokers();
        for (var node = 1; node <= KilledBrokers.Count; node++)
        {
            brokers.Start(node, ("Broker__DataShards", "3"));
        }

        await brokers.BecomesHealthyAsync(1, 2, 3);
        using var channel = GrpcChannel.ForAddress(brokers.GrpcOf(1));
        var admin = new Admin.AdminClient(channel);
        await PublishAsync(channel, topics: 6, perTopic: 100);
        await using var stream = await GroupStream.OpenAsync(channel, "g", "t.*");
        await TerminateAsync(stream, 600);
        var redriving = RedriveAsync(admin, new RedriveDeadLettersRequest { Group = "g", Rate = 100 });
        var came = new HashSet<(string, long)>();
        var isKilled = false;
        while (came.Count < 600)
        {
            var delivery = await stream.NextAsync();
            Assert.True(delivery is not null, $"{came.Count} came again");
            came.UnionWith(GroupStream.ValuesOf(delivery).Select(static each => (each.Topic, each.Offset)));
            await stream.AckAsync(delivery);
            if (came.Count > 100 && !isKilled)
            {
                isKilled = true;
                await brokers.KillAsync(2);
            }
        }

        // What was done when the leader died may be missing in the count.
        Assert.InRange(await redriving, 500, 600);
        await Eventually.HoldsAsync(async () => await DeadLettersAsync(admin) == 0, () => "nothing is left");
    }

    [Fact]
    public async Task A_redrive_ends_with_its_caller_takes_what_there_was_and_refuses_a_rate_that_is_none()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        await PublishAsync(brokers.Channels[0], topics: 1, perTopic: 60);
        await using var stream = await GroupStream.OpenAsync(brokers.Channels[0], "g", "t.*");
        await TerminateAsync(stream, 60);
        foreach (var rate in new[] { 0U, 100_001U, uint.MaxValue })
        {
            await RefusedAsync(StatusCode.InvalidArgument, "INVALID_REQUEST", () => admin.RedriveDeadLettersAsync(
                new RedriveDeadLettersRequest { Group = "g", Rate = rate }, cancellationToken: Test).ResponseAsync);
        }

        foreach (var token in new[] { "x", "1,2,3,4,5,6,7,8,9,10,11,12,13", "-1" })
        {
            await RefusedAsync(StatusCode.InvalidArgument, "INVALID_REQUEST", () => admin.RedriveDeadLettersAsync(
                new RedriveDeadLettersRequest { Group = "g", ContinueToken = token },
                cancellationToken: Test).ResponseAsync);
        }

        Assert.Equal(60, await DeadLettersAsync(admin));
        using (var call = admin.RedriveDeadLettersAsync(
            new RedriveDeadLettersRequest { Group = "g", Rate = 10 }, cancellationToken: Test))
        {
            await stream.TakeAsync(5);
        }

        await Task.Delay(500, Test);
        var left = await DeadLettersAsync(admin);
        Assert.InRange(left, 40, 55);
        await Task.Delay(1_000, Test);
        Assert.Equal(left, await DeadLettersAsync(admin));

        // The rest dies again at once: it is redriven once all the same.
        var redriven = 0L;
        var dying = TerminateAsync(stream, (int)left);
        var request = new RedriveDeadLettersRequest { Group = "g", Rate = 30 };
        do
        {
            var answer = await admin.RedriveDeadLettersAsync(request, cancellationToken: Test);
            Assert.Equal(answer.Remaining > 0, answer.ContinueToken.Length > 0);
            redriven += answer.Count;
            request.ContinueToken = answer.ContinueToken;
        }
        while (request.ContinueToken.Length > 0);
        Assert.Equal(left, redriven);
        await dying;
        await Eventually.HoldsAsync(
            async () => await DeadLettersAsync(admin) == left, () => "what died again is a dead letter again");
    }

    private static async Task<long> RedriveAsync(Admin.AdminClient admin, RedriveDeadLettersRequest request)
    {
        var count = 0L;
        do
        {
            var answer = await admin.RedriveDeadLettersAsync(request, cancellationToken: Test);
            count += answer.Count;
            request.ContinueToken = answer.ContinueToken;
        }
        while (request.ContinueToken.Length > 0);
        return count;
    }

    private static async Task<long> DeadLettersAsync(Admin.AdminClient admin) => (await admin.DescribeGroupAsync(
        new DescribeGroupRequest { Name = "g" }, cancellationToken: Test)).Group.DeadLetters;

    private static async Task PublishAsync(GrpcChannel channel, int topics, int perTopic)
    {
        for (var topic = 0; topic < topics; topic++)
        {
            var batch = new RecordBatch();
            batch.Records.AddRange(Enumerable.Range(0, perTopic).Select(static i => new Record
            {
                Key = ByteString.CopyFromUtf8($"k{i % 7}"),
                Value = ByteString.CopyFromUtf8($"{i}"),
            }));
            var request = new PublishRequest { Topic = $"t.{topic}", Batch = batch };
            await RetryAsync(
                () => new Protocol.V1.Broker.BrokerClient(channel).PublishAsync(
                    request, cancellationToken: Test).ResponseAsync,
                StatusCode.Unavailable);
        }
    }

    private static async Task TerminateAsync(GroupStream stream, int records)
    {
        for (var dead = 0; dead < records;)
        {
            var delivery = await stream.NextAsync();
            Assert.True(delivery is not null, $"{dead} of {records} records came");
            Assert.Equal(0U, (await stream.TerminateAsync(delivery, "no good")).Status);
            dead += (int)delivery.Count;
        }
    }
}
