using Broker.Client;
using Broker.Protocol.V1;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Xunit;
using static Broker.Tests.Interop.ForeignCalls;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Interop;

/// <summary>Several batches that are stored together or not at all.</summary>
public sealed class AtomicPublishTests
{
    private static readonly CancellationToken Test = TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task All_batches_are_stored_and_can_be_read_at_every_node(int nodes)
    {
        await using var brokers = await BrokerProcesses.StartAsync(nodes);
        for (var i = 0; i < 12; i++)
        {
            // Through leaders and followers; the names of each round lie in another shard.
            var (orders, invoices) = ($"orders.{{c{i}}}.created", $"invoices.{{c{i}}}");
            var broker = new Protocol.V1.Broker.BrokerClient(brokers.Channels[i % nodes]);
            for (var round = 0L; round < 3; round++)
            {
                var response = await SendAsync(broker, Part(orders, 2), Part(invoices, 1), Part(orders, 1));
                Assert.False(response.Duplicate);
                Assert.Equal(
                    [round * 3, round, (round * 3) + 2],
                    response.Parts.Select(static part => part.BaseOffset));
                Assert.Equal([2U, 1U, 1U], response.Parts.Select(static part => part.Count));
                Assert.Single(response.Parts.Select(static part => part.TimestampUnixMs).Distinct());
            }

            foreach (var channel in brokers.Channels)
            {
                Assert.Equal(9, await CountAsync(channel, orders));
                Assert.Equal(3, await CountAsync(channel, invoices));
            }
        }
    }

    [Fact]
    public async Task When_one_part_cannot_be_stored_none_is_and_the_message_says_which()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        await client.CreateTopicAsync("small.{a}", new TopicSettings { MaxMessageBytes = 3 }, Test);
        var stamp = new Protocol.V1.ProducerStamp { Id = 9, Sequence = 0 };
        var late = new Protocol.V1.ProducerStamp { Id = 9, Sequence = 5 };
        foreach (var channel in brokers.Channels)
        {
            var broker = new Protocol.V1.Broker.BrokerClient(channel);
            await RefusedAsync(
                StatusCode.FailedPrecondition,
                "UNEXPECTED_OFFSET",
                "Part 1",
                () => SendAsync(broker, Part("x.{a}"), Part("y.{a}", expected: 1)));
            await RefusedAsync(
                StatusCode.ResourceExhausted,
                "MESSAGE_TOO_LARGE",
                "Part 1",
                () => SendAsync(broker, Part("x.{a}"), Part("small.{a}", value: "toolarge")));
            await RefusedAsync(
                StatusCode.InvalidArgument,
                "INVALID_REQUEST",
                "Part 1",
                () => SendAsync(broker, Part("x.{a}"), Part("$x.{a}")));
            await RefusedAsync(
                StatusCode.InvalidArgument,
                "INVALID_REQUEST",
                "Part 1",
                () => SendAsync(broker, Part("x.{a}"), Part("y.{a}", records: 0)));
            await RefusedAsync(
                StatusCode.InvalidArgument,
                "INVALID_REQUEST",
                "stamp",
                () => SendAsync(broker, Part("x.{a}", stamp: stamp), Part("y.{a}")));
            await RefusedAsync(StatusCode.InvalidArgument, "INVALID_REQUEST", "1,000", () => SendAsync(broker));
            await RefusedAsync(
                StatusCode.InvalidArgument,
                "INVALID_REQUEST",
                "1,000",
                () => SendAsync(broker, [.. Enumerable.Repeat(Part("x.{a}"), 1_001)]));
            await RefusedAsync(
                StatusCode.ResourceExhausted,
                "LIMIT_REACHED",
                "4,194,304",
                () => SendAsync(broker, [.. Enumerable.Repeat(Part("x.{a}", value: new string('x', 1_000_000)), 5)]));
        }

        var topics = await client.ListTopicsAsync(cancellationToken: Test);
        Assert.Equal(("small.{a}", 0L), (Assert.Single(topics).Name, topics[0].NextOffset));

        // By its stamps a repetition is known, and what is put together in another way is refused.
        var any = new Protocol.V1.Broker.BrokerClient(brokers.Channels[0]);
        PublishRequest[] parts = [Part("x.{a}", stamp: stamp), Part("y.{a}", stamp: stamp)];
        Assert.False((await SendAsync(any, parts)).Duplicate);
        foreach (var channel in brokers.Channels)
        {
            var again = await SendAsync(new Protocol.V1.Broker.BrokerClient(channel), parts);
            Assert.True(again.Duplicate);
            Assert.All(again.Parts, static part => Assert.Equal((true, 0L), (part.Duplicate, part.BaseOffset)));
        }

        await RefusedAsync(
            StatusCode.FailedPrecondition,
            "PARTLY_STORED",
            "Part 1",
            () => SendAsync(any, Part("z.{a}", stamp: stamp), parts[0]));
        await RefusedAsync(
            StatusCode.FailedPrecondition,
            "OUT_OF_SEQUENCE",
            "Part 0",
            () => SendAsync(any, Part("x.{a}", stamp: late), Part("y.{a}", stamp: late)));
        Assert.Equal(1, await CountAsync(brokers.Channels[1], "x.{a}"));
    }

    [Fact]
    public async Task What_lies_in_several_shards_is_refused_with_what_lies_where()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        await client.CreateTopicAsync("parted.{a}", new TopicSettings { Partitions = 3 }, Test);
        foreach (var channel in brokers.Channels)
        {
            var broker = new Protocol.V1.Broker.BrokerClient(channel);
            PublishRequest[] parts = [.. Enumerable.Range(0, 9).Select(static i => Part($"t{i}"))];
            var refusal = await RefusedAsync(
                StatusCode.FailedPrecondition, "DIFFERENT_SHARDS", "braces", () => SendAsync(broker, parts));
            Assert.Contains("shard 1 has '", refusal.Status.Detail, StringComparison.Ordinal);
            Assert.Contains("shard 3 has '", refusal.Status.Detail, StringComparison.Ordinal);

            // Partition 0 lies with the topic's name, 1 in the next shard.
            await SendAsync(broker, Part("parted.{a}", partition: 0), Part("other.{a}"));
            await RefusedAsync(
                StatusCode.FailedPrecondition,
                "DIFFERENT_SHARDS",
                "#1",
                () => SendAsync(broker, Part("parted.{a}", partition: 1), Part("other.{a}")));
            await RefusedAsync(
                StatusCode.InvalidArgument,
                "INVALID_REQUEST",
                "names none",
                () => SendAsync(broker, Part("parted.{a}"), Part("other.{a}")));
            await RefusedAsync(
                StatusCode.InvalidArgument,
                "INVALID_REQUEST",
                "no partition 3",
                () => SendAsync(broker, Part("parted.{a}", partition: 3), Part("other.{a}")));
        }

        Assert.Equal(3, await CountAsync(brokers.Channels[0], "other.{a}"));
        Assert.Equal(
            ["other.{a}", "parted.{a}"],
            (await client.ListTopicsAsync(cancellationToken: Test)).Select(static topic => topic.Name));
    }

    [Fact]
    public async Task Parts_follow_the_policies_for_topics_that_are_not_there()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        await client.PutTopicTemplateAsync("kept.>", new TopicSettings { MaxRecords = 50 }, Test);
        await client.PublishAtomicAsync([One("kept.{k}"), One("free.{k}")], Test);
        Assert.Equal(50, (await client.DescribeTopicAsync("kept.{k}", Test)).Settings.MaxRecords);
        await client.SetAutoCreateAsync(false, Test);
        await Eventually.HoldsAsync(
            async () => (await Task.WhenAll(brokers.Channels.Select(async channel =>
                (await new Admin.AdminClient(channel).ListTopicTemplatesAsync(
                    new ListTopicTemplatesRequest(), cancellationToken: Test)).AutoCreate))).All(static on => !on),
            static () => "every node knows the policies");
        var refusal = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.PublishAtomicAsync([One("kept.{k}"), One("fre.{k}")], Test));
        Assert.Equal((BrokerClientErrorCode.NotFound, "AUTO_CREATE_OFF"), (refusal.Code, refusal.Reason));
        Assert.Contains("'free.{k}'", refusal.Message, StringComparison.Ordinal);
        Assert.Equal(1, await CountAsync(brokers.Channels[0], "kept.{k}"));
    }

    /// <summary>Leaders are moved and a node is stopped meanwhile: each call is there in both topics, once.</summary>
    [Fact]
    public async Task Both_or_none_are_there_whatever_happens_to_leaders()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        var admin = new Admin.AdminClient(brokers.Channels[2]);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(Test);
        var publishing = Enumerable.Range(0, 8).Select(async writer =>
        {
            var done = 0;
            while (!end.IsCancellationRequested)
            {
                var acks = await client.PublishAtomicAsync(
                    [One("left.{p}", $"{writer}"), One("right.{p}", $"{writer}")], Test);
                Assert.Equal(acks[0].Offset, acks[1].Offset);
                done++;
            }

            return done;
        }).ToList();
        for (var round = 0; round < 6; round++)
        {
            await Task.Delay(500, Test);
            for (var shard = 1U; shard <= 3; shard++)
            {
                try
                {
                    await admin.TransferLeadershipAsync(
                        new TransferLeadershipRequest { Shard = shard }, cancellationToken: Test);
                }
                catch (RpcException refusal) when (refusal.StatusCode == StatusCode.FailedPrecondition)
                {
                    // Nobody has caught up: the old leader goes on.
                }
            }
        }

        await brokers.StopAsync(0);
        await Task.Delay(1_000, Test);
        await end.CancelAsync();
        var total = (await Task.WhenAll(publishing)).Sum();
        Assert.True(total > 20, $"{total} calls were answered");
        Assert.Equal(total, await CountAsync(brokers.Channels[1], "left.{p}"));
        Assert.Equal(total, await CountAsync(brokers.Channels[2], "right.{p}"));
    }

    private static AtomicPart One(string topic, string value = "x") => new()
    {
        Topic = topic,
        Messages = [new BrokerMessage { Value = System.Text.Encoding.UTF8.GetBytes(value) }],
    };

    private static PublishRequest Part(
        string topic,
        int records = 1,
        string value = "x",
        long? expected = null,
        uint? partition = null,
        Protocol.V1.ProducerStamp? stamp = null)
    {
        var request = new PublishRequest
        {
            Topic = topic,
            Batch = new RecordBatch(),
            ExpectedOffset = expected,
            Partition = partition,
            Producer = stamp,
        };
        for (var i = 0; i < records; i++)
        {
            request.Batch.Records.Add(new Record { Value = ByteString.CopyFromUtf8(value) });
        }

        return request;
    }

    /// <summary>As every client does: UNAVAILABLE says that nothing was stored, and to send again.</summary>
    private static Task<PublishAtomicResponse> SendAsync(
        Protocol.V1.Broker.BrokerClient broker, params PublishRequest[] parts) => RetryAsync(
            () => broker.PublishAtomicAsync(
                new PublishAtomicRequest { Parts = { parts } }, cancellationToken: Test).ResponseAsync,
            StatusCode.Unavailable);

    private static Task<long> CountAsync(GrpcChannel channel, string topic) =>
        ForeignCalls.CountAsync(channel, new ReadRequest { Topic = topic, Linearizable = true });
}
