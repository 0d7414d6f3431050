using System.Diagnostics;
using Broker.Protocol.V1;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Xunit;
using static Broker.Tests.Interop.ForeignCalls;
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
