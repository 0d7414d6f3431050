using System.Diagnostics;
using Broker.Client;
using Broker.Protocol.V1;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Xunit;
using static Broker.Tests.Interop.ForeignCalls;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Interop;

/// <summary>Reads that miss nothing that was acknowledged before they began, at every node.</summary>
public sealed class LinearizableReadTests
{
    private static readonly CancellationToken Test = TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_was_acknowledged_at_one_node_is_read_at_every_other_also_after_leaders_have_moved()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        for (var i = 0; i < 120; i++)
        {
            var topic = $"t{i % 4}";
            var count = 1 + await PublishAsync(brokers.Channels[i % 3], topic);
            if (i % 10 == 9)
            {
                var shards = (await admin.DescribeClusterAsync(
                    new DescribeClusterRequest(), cancellationToken: Test)).Shards;
                var shard = shards[1 + (i / 10 % (shards.Count - 1))];
                await MoveAsync(admin, shard.Shard, 1 + (shard.Leader % 3));
            }

            for (var at = 1; at <= 2; at++)
            {
                var channel = brokers.Channels[(i + at) % 3];
                var read = await UntilLedAsync(() => CountAsync(
                    channel, new ReadRequest { Topic = topic, Linearizable = true }));
                Assert.True(read >= count, $"{read} records of {count} are read");
                var described = await UntilLedAsync(() => new Admin.AdminClient(channel).DescribeTopicAsync(
                    new DescribeTopicRequest { Name = topic, Linearizable = true },
                    cancellationToken: Test).ResponseAsync);
                Assert.True(described.Topic.NextOffset >= count);
            }
        }
    }

    [Fact]
    public async Task Partitions_and_the_client_read_so_too()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        await client.CreateTopicAsync("parted", new TopicSettings { Partitions = 6 }, Test);
        for (var i = 0; i < 60; i++)
        {
            var ack = await client.PublishAsync(
                "parted", new BrokerMessage { Key = BitConverter.GetBytes(i), Value = new byte[1] }, Test);
            var described = await client.DescribeTopicAsync("parted", linearizable: true, Test);
            Assert.Equal(i + 1, described.Topic.NextOffset);
            var last = -1L;
            await foreach (var record in client.ReadAsync(
                "parted", new ReadOptions { Partition = ack.Partition, Linearizable = true }, Test))
            {
                last = record.Offset;
            }

            Assert.Equal(ack.Offset, last);
            await foreach (var record in client.ReadAsync(
                "parted",
                new ReadOptions { Partition = ack.Partition, FromEnd = true, Linearizable = true },
                Test))
            {
                Assert.Fail($"offset {record.Offset} was acknowledged before the read began at the end");
            }
        }
    }

    [Fact]
    public async Task What_cannot_be_read_is_refused_as_without_it()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        var channel = brokers.Channels[0];
        await PublishAsync(channel, "a");
        Assert.Equal(1, await CountAsync(channel, new ReadRequest { Topic = "a", Linearizable = true }));
        foreach (var (request, status, reason) in new[]
        {
            (new ReadRequest { Topic = "a b" }, StatusCode.InvalidArgument, "INVALID_REQUEST"),
            (new ReadRequest { Topic = "b" }, StatusCode.NotFound, "NOT_FOUND"),
            (new ReadRequest { Topic = "a", Partition = 1 }, StatusCode.NotFound, "NOT_FOUND"),
            (new ReadRequest { Topic = "a", Offset = 2 }, StatusCode.OutOfRange, "OFFSET_BEYOND_END"),
            (new ReadRequest { Topic = "a", Offset = -1 }, StatusCode.InvalidArgument, "INVALID_REQUEST"),
        })
        {
            request.Linearizable = true;
            var refusal = await Assert.ThrowsAsync<RpcException>(() => CountAsync(channel, request));
            Assert.Equal((status, reason), (refusal.StatusCode, ReasonOf(refusal)));
        }
    }

    [Fact]
    public async Task Without_a_leader_there_is_no_answer_where_an_ordinary_read_gives_what_it_has()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        for (var i = 0; i < 5; i++)
        {
            await PublishAsync(brokers.Channels[0], "a");
        }

        Assert.Equal(5, await UntilLedAsync(() => CountAsync(
            brokers.Channels[2], new ReadRequest { Topic = "a", Linearizable = true })));
        await brokers.StopAsync(0);
        await brokers.StopAsync(1);
        await Eventually.HoldsAsync(
            async () =>
            {
                var watch = Stopwatch.StartNew();
                try
                {
                    await CountAsync(brokers.Channels[2], new ReadRequest { Topic = "a", Linearizable = true });
                    return false;
                }
                catch (RpcException refusal)
                {
                    Assert.True(watch.Elapsed < TimeSpan.FromSeconds(8), "it is refused in time");
                    return refusal.StatusCode == StatusCode.Unavailable && ReasonOf(refusal) == "NO_LEADER";
                }
            },
            static () => "a linearizable read hears that there is no leader");
        Assert.Equal(5, await CountAsync(brokers.Channels[2], new ReadRequest { Topic = "a" }));
        var described = await Assert.ThrowsAsync<RpcException>(async () =>
            await new Admin.AdminClient(brokers.Channels[2]).DescribeTopicAsync(
                new DescribeTopicRequest { Name = "a", Linearizable = true }, cancellationToken: Test));
        Assert.Equal((StatusCode.Unavailable, "NO_LEADER"), (described.StatusCode, ReasonOf(described)));
    }

    [Fact]
    public async Task A_leader_that_was_cut_off_and_replaced_gives_no_older_answer()
    {
        await using var brokers = new KilledBrokers();
        await brokers.FormAsync();
        using var old = GrpcChannel.ForAddress(brokers.GrpcOf(KilledBrokers.TopicLeader));
        using var other = GrpcChannel.ForAddress(brokers.GrpcOf(3));
        await PublishAsync(other, "a");
        for (var round = 0; round < 3; round++)
        {
            // It does not know that it was replaced: it was paused.
            brokers.Pause(KilledBrokers.TopicLeader);
            var count = 1 + await PublishAsync(other, "a"); // as soon as another one leads
            var reads = Enumerable.Range(0, 10).Select(
                _ => UntilLedAsync(() => CountAsync(old, new ReadRequest { Topic = "a", Linearizable = true })))
                .ToList();
            brokers.Resume(KilledBrokers.TopicLeader);
            foreach (var read in reads)
            {
                Assert.True(await read >= count);
            }

            await Eventually.HoldsAsync(
                async () => (await new Admin.AdminClient(old).DescribeClusterAsync(
                    new DescribeClusterRequest(), cancellationToken: Test))
                    .Shards.Single(static shard => shard.Shard == KilledBrokers.TopicGroup).Leader
                    == KilledBrokers.TopicLeader,
                static () => "it leads again, as it is to",
                60);
        }
    }

    private static Task<long> PublishAsync(GrpcChannel channel, string topic) => UntilLedAsync(async () =>
        (await new Protocol.V1.Broker.BrokerClient(channel).PublishAsync(
            new PublishRequest
            {
                Topic = topic,
                Batch = new RecordBatch { Records = { new Record { Value = ByteString.CopyFromUtf8("x") } } },
            },
            cancellationToken: Test)).BaseOffset);

    /// <summary>As every client does where leaders move: UNAVAILABLE and ABORTED say to send again.</summary>
    private static Task<T> UntilLedAsync<T>(Func<Task<T>> call) =>
        RetryAsync(call, StatusCode.Unavailable, StatusCode.Aborted);

    private static async Task MoveAsync(Admin.AdminClient admin, uint shard, uint to)
    {
        try
        {
            await admin.TransferLeadershipAsync(
                new TransferLeadershipRequest { Shard = shard, ToNode = to }, cancellationToken: Test);
        }
        catch (RpcException refusal) when (refusal.StatusCode == StatusCode.FailedPrecondition)
        {
            // It did not catch up in time: the old leader goes on.
        }
    }
}
