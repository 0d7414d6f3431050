using Broker.Client;
using Broker.Protocol.V1;
using Google.Protobuf;
using Google.Rpc;
using Grpc.Core;
using Xunit;
using static Broker.Tests.Interop.ForeignCalls;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Interop;

/// <summary>Topics with settings of their own, as a foreign client and as the .NET client see them.</summary>
public sealed class TopicTests
{
    private static readonly CancellationToken Test = TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_topic_is_made_described_changed_and_removed_at_any_node()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        var admins = brokers.Channels.Select(channel => new Admin.AdminClient(channel)).ToList();
        var config = new TopicConfig { MaxAgeMs = 3_600_000, MaxBytes = 1_000_000, MaxMessageBytes = 100 };
        for (var i = 0; i < 6; i++)
        {
            var name = $"orders.{i}";
            var made = await admins[i % 3].CreateTopicAsync(
                new CreateTopicRequest { Name = name, Config = config },
                cancellationToken: Test);
            Assert.Equal((1U, 3_600_000UL, 1_000_000UL, 0UL, false, 100U), Settings(made.Config));
            await admins[(i + 1) % 3].CreateTopicAsync(
                new CreateTopicRequest { Name = name, Config = config },
                cancellationToken: Test);
            await RefusedAsync(
                StatusCode.AlreadyExists,
                "ALREADY_EXISTS",
                () => admins[i % 3].CreateTopicAsync(
                    new CreateTopicRequest { Name = name },
                    cancellationToken: Test).ResponseAsync);

            // Whoever is asked knows it at once, although a follower applies a moment later.
            foreach (var admin in admins)
            {
                var found = await admin.DescribeTopicAsync(
                    new DescribeTopicRequest { Name = name },
                    cancellationToken: Test);
                Assert.Equal(made.Config, found.Config);
                Assert.Equal((name, 0L, 0L), (found.Topic.Name, found.Topic.FirstOffset, found.Topic.NextOffset));
                Assert.NotEqual(0UL, found.Topic.TopicId);
                Assert.Equal(found.Topic.Shard, Assert.Single(found.Partitions).Shard);
            }

            var update = new UpdateTopicRequest
            {
                Name = name,
                Config = new TopicConfig { MaxRecords = 7, MaxAgeMs = 0 },
            };
            var changed = await admins[(i + 2) % 3].UpdateTopicAsync(update, cancellationToken: Test);
            Assert.Equal((1U, 0UL, 1_000_000UL, 7UL, false, 100U), Settings(changed.Config));
            await admins[i % 3].DeleteTopicAsync(new DeleteTopicRequest { Name = name }, cancellationToken: Test);
            foreach (var admin in admins)
            {
                await RefusedAsync(
                    StatusCode.NotFound,
                    "NOT_FOUND",
                    () => admin.DeleteTopicAsync(
                        new DeleteTopicRequest { Name = name },
                        cancellationToken: Test).ResponseAsync);
            }
        }
    }

    [Fact]
    public async Task What_a_topic_cannot_be_is_refused_with_a_sentence_and_nothing_is_done()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        (string Name, TopicConfig Config, StatusCode Status, string Sentence)[] cases =
        [
            ("a b", new TopicConfig(), StatusCode.InvalidArgument, "space"),
            ("$dlq.a", new TopicConfig(), StatusCode.InvalidArgument, "$"),
            ("", new TopicConfig(), StatusCode.InvalidArgument, "topic"),
            ("a", new TopicConfig { Partitions = 0 }, StatusCode.InvalidArgument, "partitions"),
            ("a", new TopicConfig { Partitions = 1_001 }, StatusCode.InvalidArgument, "partitions"),
            ("a", new TopicConfig { DeleteMarkerMs = ulong.MaxValue }, StatusCode.InvalidArgument, "delete_marker_ms"),
            ("a", new TopicConfig { MaxAgeMs = ulong.MaxValue }, StatusCode.InvalidArgument, "max_age_ms"),
            ("a", new TopicConfig { MaxMessageBytes = 0 }, StatusCode.InvalidArgument, "max_message_bytes"),
            ("a", new TopicConfig { MaxMessageBytes = 1_048_577 }, StatusCode.InvalidArgument, "1,048,576"),
        ];
        foreach (var (name, config, status, sentence) in cases)
        {
            var refusal = await Assert.ThrowsAsync<RpcException>(async () =>
                await admin.CreateTopicAsync(
                    new CreateTopicRequest { Name = name, Config = config },
                    cancellationToken: Test));
            Assert.Equal(status, refusal.StatusCode);
            Assert.Contains(sentence, refusal.Status.Detail, StringComparison.Ordinal);
            Assert.NotNull(refusal.GetRpcStatus()?.GetDetail<ErrorInfo>());
        }

        Assert.Empty((await admin.ListTopicsAsync(new ListTopicsRequest(), cancellationToken: Test)).Topics);
        await RefusedAsync(
            StatusCode.NotFound,
            "NOT_FOUND",
            () => admin.UpdateTopicAsync(new UpdateTopicRequest { Name = "a" }, cancellationToken: Test).ResponseAsync);
        await RefusedAsync(
            StatusCode.NotFound,
            "NOT_FOUND",
            () => admin.DescribeTopicAsync(
                new DescribeTopicRequest { Name = "a" },
                cancellationToken: Test).ResponseAsync);
    }

    [Fact]
    public async Task A_reader_hears_that_its_topic_is_deleted_and_never_reads_another_for_it()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        for (var i = 0; i < 5; i++)
        {
            await client.PublishAsync("a", Message($"old {i}"), Test);
        }

        var begun = 0;
        void ReadFive(long read) => Interlocked.Add(ref begun, read == 5 ? 1 : 0);
        var following = brokers.Channels.Select(async channel =>
        {
            using var call = new Protocol.V1.Broker.BrokerClient(channel).Read(
                new ReadRequest { Topic = "a", Follow = true }, cancellationToken: Test);
            var read = 0L;
            var id = 0UL;
            var refusal = await Assert.ThrowsAsync<RpcException>(async () =>
            {
                while (await call.ResponseStream.MoveNext(Test))
                {
                    read = call.ResponseStream.Current.NextOffset;
                    id = call.ResponseStream.Current.TopicId;
                    ReadFive(read);
                }
            });
            return (Read: read, Id: id, Refusal: refusal);
        }).ToList();
        var byClient = Task.Run(async () =>
        {
            var read = new List<string>();
            var refusal = await Assert.ThrowsAsync<BrokerClientException>(async () =>
            {
                await foreach (var record in client.ReadAsync("a", new ReadOptions { Follow = true }, Test))
                {
                    read.Add(System.Text.Encoding.UTF8.GetString(record.Value.Span));
                    ReadFive(read.Count);
                }
            });
            return (read, refusal);
        });
        await Eventually.HoldsAsync(() => Volatile.Read(ref begun) == 4, "everybody has read what is there");
        Assert.True(await client.DeleteTopicAsync("a", Test));
        Assert.False(await client.DeleteTopicAsync("a", Test));
        foreach (var (read, id, refusal) in await Task.WhenAll(following))
        {
            Assert.Equal((5L, StatusCode.NotFound), (read, refusal.StatusCode));
            Assert.Equal("TOPIC_DELETED", ReasonOf(refusal));

            await client.PublishAsync("a", Message("new"), Test);
            var again = await Assert.ThrowsAsync<RpcException>(async () =>
            {
                using var call = new Protocol.V1.Broker.BrokerClient(brokers.Channels[0]).Read(
                    new ReadRequest { Topic = "a", Offset = 0, TopicId = id }, cancellationToken: Test);
                await call.ResponseStream.MoveNext(Test);
            });
            Assert.Equal("TOPIC_DELETED", ReasonOf(again));
        }

        var (texts, told) = await byClient;
        Assert.Equal(5, texts.Count);
        Assert.Equal((BrokerClientErrorCode.TopicDeleted, "TOPIC_DELETED"), (told.Code, told.Reason));
        Assert.Equal(["new", "new", "new"], await ReadAllAsync(
            client, "a", new ReadOptions { Linearizable = true }));
    }

    [Fact]
    public async Task Of_many_that_publish_at_one_offset_one_is_stored()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        for (var offset = 0L; offset < 10; offset++)
        {
            var tries = await Task.WhenAll(Enumerable.Range(0, 8).Select(async i =>
            {
                try
                {
                    var ack = await client.PublishAtOffsetAsync("a", Message($"{i}"), offset, Test);
                    Assert.Equal(offset, ack.Offset);
                    return (int?)i;
                }
                catch (BrokerClientException refusal) when (refusal.Code == BrokerClientErrorCode.UnexpectedOffset)
                {
                    return null;
                }
            }));
            var winner = Assert.Single(tries, each => each is not null);
            var stored = await ReadAllAsync(client, "a", new ReadOptions { Linearizable = true });
            Assert.Equal($"{winner}", stored[(int)offset]);
        }

        var broker = new Protocol.V1.Broker.BrokerClient(brokers.Channels[0]);
        await RefusedAsync(StatusCode.FailedPrecondition, "UNEXPECTED_OFFSET", () => PublishAsync(broker, "a", 9));
        await RefusedAsync(StatusCode.FailedPrecondition, "UNEXPECTED_OFFSET", () => PublishAsync(broker, "b", 1));
        await RefusedAsync(StatusCode.InvalidArgument, "INVALID_REQUEST", () => PublishAsync(broker, "a", -1));
    }

    [Fact]
    public async Task A_read_begins_at_a_time_on_every_node()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        var acks = new List<PublishAck>();
        for (var i = 0; i < 20; i++)
        {
            acks.Add(await client.PublishAsync("a", Message($"{i}"), Test));
            await Task.Delay(3, Test);
        }

        foreach (var channel in brokers.Channels)
        {
            var broker = new Protocol.V1.Broker.BrokerClient(channel);
            foreach (var time in acks.Select(ack => ack.Timestamp.ToUnixTimeMilliseconds()))
            {
                var first = acks.First(ack => ack.Timestamp.ToUnixTimeMilliseconds() >= time).Offset;
                using var call = broker.Read(
                    new ReadRequest { Topic = "a", TimeUnixMs = time, MaxRecords = 1 }, cancellationToken: Test);
                Assert.True(await call.ResponseStream.MoveNext(Test));
                Assert.Equal(first, call.ResponseStream.Current.Batches[0].BaseOffset);
            }

            using var later = broker.Read(
                new ReadRequest { Topic = "a", TimeUnixMs = long.MaxValue }, cancellationToken: Test);
            Assert.False(await later.ResponseStream.MoveNext(Test));
            await RefusedAsync(StatusCode.InvalidArgument, "INVALID_REQUEST", async () =>
            {
                using var call = broker.Read(
                    new ReadRequest { Topic = "a", TimeUnixMs = -1 }, cancellationToken: Test);
                return await call.ResponseStream.MoveNext(Test);
            });
        }

        Assert.Equal(
            ["18", "19"],
            await ReadAllAsync(client, "a", new ReadOptions { FromTime = acks[18].Timestamp }));
    }

    [Fact]
    public async Task A_topic_refuses_what_is_larger_than_it_takes()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        await using var client = brokers.Connect();
        await client.CreateTopicAsync("a", new TopicSettings { MaxMessageBytes = 10 }, Test);
        await client.PublishAsync("a", Message("0123456789"), Test);
        var refusal = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.PublishAsync("a", Message("0123456789X"), Test));
        Assert.Equal(
            (BrokerClientErrorCode.ResourceExhausted, "MESSAGE_TOO_LARGE"), (refusal.Code, refusal.Reason));
        await client.UpdateTopicAsync("a", new TopicSettings { MaxMessageBytes = 11 }, Test);
        Assert.Equal(1, (await client.PublishAsync("a", Message("0123456789X"), Test)).Offset);
        Assert.Equal(11, (await client.DescribeTopicAsync("a", Test)).Settings.MaxMessageBytes);
    }

    [Fact]
    public async Task What_a_topic_does_not_keep_goes_by_itself_on_every_node()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        await client.CreateTopicAsync("count", new TopicSettings { MaxRecords = 10 }, Test);
        await client.CreateTopicAsync("bytes", new TopicSettings { MaxBytes = 1_000 }, Test);
        await client.CreateTopicAsync("age", new TopicSettings { MaxAge = TimeSpan.FromSeconds(2) }, Test);
        await client.CreateTopicAsync("all", cancellationToken: Test);
        for (var i = 0; i < 50; i++)
        {
            foreach (var topic in new[] { "count", "bytes", "age", "all" })
            {
                await client.PublishAsync(topic, Message(new string('x', 100)), Test);
            }
        }

        foreach (var channel in brokers.Channels)
        {
            var admin = new Admin.AdminClient(channel);
            await Eventually.HoldsAsync(
                async () =>
                {
                    var topics = (await admin.ListTopicsAsync(new ListTopicsRequest(), cancellationToken: Test)).Topics
                        .ToDictionary(topic => topic.Name, topic => topic.FirstOffset);
                    return topics["count"] == 40 && topics["bytes"] is >= 38 and < 45 && topics["age"] == 50;
                },
                static () => "every node has removed what the topics do not keep",
                30);
            Assert.Equal(
                0, (await admin.DescribeTopicAsync(
                    new DescribeTopicRequest { Name = "all" },
                    cancellationToken: Test)).Topic.FirstOffset);
        }

        Assert.Equal(10, (await ReadAllAsync(client, "count", new ReadOptions())).Count);
        Assert.Empty(await ReadAllAsync(client, "age", new ReadOptions()));
        Assert.Equal(50, (await ReadAllAsync(client, "all", new ReadOptions())).Count);
    }

    [Fact]
    public async Task A_broker_says_what_it_is_and_takes_and_keeps_its_word()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        await using var client = brokers.Connect();
        var info = await client.GetServerInfoAsync(Test);
        Assert.Matches(@"^\d+\.\d+\.\d+$", info.Version);
        Assert.Contains("topic-settings", info.Features);
        Assert.Equal(info.Features.Order(StringComparer.Ordinal), info.Features);
        await client.PublishAsync("a", new BrokerMessage { Value = new byte[info.MessageBytes] }, Test);
        var broker = new Protocol.V1.Broker.BrokerClient(brokers.Channels[0]);
        var tooLarge = new Record { Value = ByteString.CopyFrom(new byte[info.MessageBytes + 1]) };
        await RefusedAsync(StatusCode.ResourceExhausted, "LIMIT_REACHED", () => broker.PublishAsync(
            new PublishRequest { Topic = "a", Batch = new RecordBatch { Records = { tooLarge } } },
            cancellationToken: Test).ResponseAsync);
    }

    private static (uint?, ulong?, ulong?, ulong?, bool?, uint?) Settings(TopicConfig config) => (
        config.Partitions,
        config.MaxAgeMs,
        config.MaxBytes,
        config.MaxRecords,
        config.Compact,
        config.MaxMessageBytes);

    private static Task<PublishResponse> PublishAsync(
        Protocol.V1.Broker.BrokerClient broker, string topic, long expectedOffset) => broker.PublishAsync(
            new PublishRequest
            {
                Topic = topic,
                Batch = new RecordBatch { Records = { new Record { Value = ByteString.CopyFromUtf8("x") } } },
                ExpectedOffset = expectedOffset,
            },
            cancellationToken: Test).ResponseAsync;

    private static BrokerMessage Message(string text) => new() { Value = System.Text.Encoding.UTF8.GetBytes(text) };

    private static async Task<List<string>> ReadAllAsync(BrokerClient client, string topic, ReadOptions options)
    {
        var read = new List<string>();
        await foreach (var record in client.ReadAsync(topic, options, Test))
        {
            read.Add(System.Text.Encoding.UTF8.GetString(record.Value.Span));
        }

        return read;
    }
}
