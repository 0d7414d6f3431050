using System.Text;
using Broker.Client;
using Broker.Protocol.V1;
using Broker.Tests.Interop.GrpcCalls;
using Google.Protobuf;
using Google.Rpc;
using Grpc.Core;
using Xunit;
using static Broker.Tests.Interop.ForeignCalls;
using ProducerStamp = Broker.Protocol.V1.ProducerStamp;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Interop;

/// <summary>Topics of several partitions, as a foreign client and as the .NET client see them.</summary>
public sealed class PartitionTests
{
    private static readonly CancellationToken Test = TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_topic_of_twelve_partitions_is_made_described_changed_purged_and_removed_at_any_node()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        var admins = brokers.Channels.Select(channel => new Admin.AdminClient(channel)).ToList();
        for (var i = 0; i < 3; i++)
        {
            var name = $"orders.{i}";
            var request = new CreateTopicRequest { Name = name, Config = new TopicConfig { Partitions = 12 } };
            var made = await admins[i].CreateTopicAsync(request, cancellationToken: Test);
            Assert.Equal(12U, made.Config.Partitions);
            await admins[(i + 1) % 3].CreateTopicAsync(request, cancellationToken: Test);
            await RefusedAsync(StatusCode.AlreadyExists, "ALREADY_EXISTS", () => admins[i].CreateTopicAsync(
                new CreateTopicRequest { Name = name, Config = new TopicConfig { Partitions = 11 } },
                cancellationToken: Test).ResponseAsync);
            for (var partition = 0U; partition < 12; partition++)
            {
                var broker = new Protocol.V1.Broker.BrokerClient(brokers.Channels[(int)partition % 3]);
                var stored = await PublishAsync(broker, name, partition, "a", "b");
                Assert.Equal((partition, 0L, 12U), (stored.Partition, stored.BaseOffset, stored.Partitions));
            }

            var update = new UpdateTopicRequest
            {
                Name = name,
                Config = new TopicConfig { Partitions = 12, MaxMessageBytes = 10 },
            };
            await admins[(i + 2) % 3].UpdateTopicAsync(update, cancellationToken: Test);
            for (var partition = 0U; partition < 12; partition++)
            {
                var broker = new Protocol.V1.Broker.BrokerClient(brokers.Channels[(int)partition % 3]);
                await RefusedAsync(StatusCode.ResourceExhausted, "MESSAGE_TOO_LARGE", () => PublishAsync(
                    broker, name, partition, new string('x', 11)));
            }

            var found = await admins[i].DescribeTopicAsync(
                new DescribeTopicRequest { Name = name }, cancellationToken: Test);
            Assert.Equal((12U, 10U), (found.Config.Partitions, found.Config.MaxMessageBytes));
            Assert.Equal(Enumerable.Range(0, 12).Select(each => (uint)each), found.Partitions.Select(p => p.Partition));
            Assert.Equal([4, 4, 4], found.Partitions.CountBy(each => each.Shard).Select(each => each.Value));
            Assert.All(found.Partitions, each => Assert.NotEqual(0U, each.Leader));

            var one = new PurgeTopicRequest { Name = name, Partition = 7, BeforeOffset = 1 };
            Assert.Equal([1], (await admins[i].PurgeTopicAsync(one, cancellationToken: Test)).FirstOffsets);
            var all = await admins[i].PurgeTopicAsync(new PurgeTopicRequest { Name = name }, cancellationToken: Test);
            Assert.Equal(Enumerable.Repeat(2L, 12), all.FirstOffsets);
        }

        await Eventually.HoldsAsync(
            async () => (await Task.WhenAll(admins.Select(async admin =>
                (await admin.ListTopicsAsync(new ListTopicsRequest(), cancellationToken: Test)).Topics))).All(
                topics => topics.Count == 3 && topics.All(topic => topic.FirstOffset == 24 && topic.NextOffset == 24
                    && topic.Partitions.All(each => each is { FirstOffset: 2, NextOffset: 2 }))),
            static () => "every node lists each topic once, with all its partitions",
            20);
        foreach (var (i, admin) in admins.Index())
        {
            await admin.DeleteTopicAsync(new DeleteTopicRequest { Name = $"orders.{i}" }, cancellationToken: Test);
            var broker = new Protocol.V1.Broker.BrokerClient(brokers.Channels[i]);
            Assert.Equal(0L, (await PublishAsync(broker, $"orders.{i}", 0, "a")).BaseOffset);
        }
    }

    [Fact]
    public async Task What_cannot_be_is_refused_with_a_sentence_and_nothing_is_done()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        var broker = new Protocol.V1.Broker.BrokerClient(brokers.Channels[0]);
        foreach (var (name, partitions) in new[] { ("a", 0U), ("a", 1_001U), (new string('x', 251), 2U) })
        {
            await RefusedAsync(StatusCode.InvalidArgument, "INVALID_REQUEST", () => admin.CreateTopicAsync(
                new CreateTopicRequest { Name = name, Config = new TopicConfig { Partitions = partitions } },
                cancellationToken: Test).ResponseAsync);
        }

        Assert.Empty((await admin.ListTopicsAsync(new ListTopicsRequest(), cancellationToken: Test)).Topics);
        await CreateAsync(admin, "a", 3);
        await RefusedAsync(StatusCode.InvalidArgument, "INVALID_REQUEST", () => PublishAsync(broker, "a", 3, "v"));
        await RefusedAsync(StatusCode.InvalidArgument, "INVALID_REQUEST", () => PublishAsync(broker, "none", 1, "v"));
        await RefusedAsync(StatusCode.InvalidArgument, "INVALID_REQUEST", () => PublishAsync(broker, "a #1", 0, "v"));
        var several = new PublishRequest { Topic = "a", Batch = Batch("1", "2", "3", "4", "5") };
        foreach (var counting in new[]
        {
            new PublishRequest(several) { Producer = new ProducerStamp { Id = 7 } },
            new PublishRequest(several) { ExpectedOffset = 0 },
        })
        {
            await RefusedAsync(StatusCode.InvalidArgument, "INVALID_REQUEST", () => broker.PublishAsync(
                counting, cancellationToken: Test).ResponseAsync);
        }

        await RefusedAsync(StatusCode.NotFound, "NOT_FOUND", () => ReadAsync(broker, "a", 3));
        await RefusedAsync(StatusCode.NotFound, "NOT_FOUND", () => ReadAsync(broker, "none", 1));
        await RefusedAsync(StatusCode.NotFound, "NOT_FOUND", () => admin.PurgeTopicAsync(
            new PurgeTopicRequest { Name = "a", Partition = 3 }, cancellationToken: Test).ResponseAsync);
        await RefusedAsync(StatusCode.InvalidArgument, "INVALID_REQUEST", () => admin.PurgeTopicAsync(
            new PurgeTopicRequest { Name = "a", BeforeOffset = 0 }, cancellationToken: Test).ResponseAsync);
        await RefusedAsync(StatusCode.InvalidArgument, "INVALID_REQUEST", () => admin.UpdateTopicAsync(
            new UpdateTopicRequest { Name = "a", Config = new TopicConfig { Partitions = 4 } },
            cancellationToken: Test).ResponseAsync);
        Assert.Empty(await ReadAsync(broker, "a", 0));
        Assert.Empty(await ReadAsync(broker, "a", 1));
        Assert.Empty(await ReadAsync(broker, "a", 2));
    }

    [Fact]
    public async Task A_batch_is_split_by_its_keys_and_the_answer_says_where_each_record_is()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await CreateAsync(new Admin.AdminClient(brokers.Channels[0]), "a", 5);
        var keys = Enumerable.Range(0, 200).Select(i => i % 7 == 0 ? "" : $"{i % 31}").ToArray();
        var expected = new Dictionary<uint, List<string>>();
        foreach (var channel in brokers.Channels)
        {
            var broker = new Protocol.V1.Broker.BrokerClient(channel);
            var stored = await PublishAsync(broker, new PublishRequest { Topic = "a", Batch = Batch(keys) });
            Assert.Equal((200U, -1L, 5), (stored.Count, stored.BaseOffset, stored.Parts.Count));
            Assert.Equal(
                Enumerable.Range(0, 200).Select(i => (uint)i), stored.Parts.SelectMany(part => part.Records).Order());
            foreach (var part in stored.Parts)
            {
                var mine = expected.TryGetValue(part.Partition, out var known) ? known : expected[part.Partition] = [];
                Assert.Equal(mine.Count, part.BaseOffset);
                mine.AddRange(part.Records.Select(number => $"{keys[number]}={number}"));
            }
        }

        foreach (var (partition, records) in expected)
        {
            Assert.Equal(records, await ReadAsync(
                new Protocol.V1.Broker.BrokerClient(brokers.Channels[(int)partition % 3]), "a", partition));
        }

        Assert.Single(expected.SelectMany(each => each.Value.Select(record => (record.Split('=')[0], each.Key)))
            .Where(each => each.Item1 == "5").Distinct());
    }

    [Fact]
    public async Task Records_without_a_key_are_spread_and_a_producer_keeps_its_partition()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await CreateAsync(new Admin.AdminClient(brokers.Channels[0]), "a", 4);
        foreach (var channel in brokers.Channels)
        {
            var broker = new Protocol.V1.Broker.BrokerClient(channel);
            var used = new HashSet<uint>();
            for (var i = 0; i < 8; i++)
            {
                var anywhere = new PublishRequest { Topic = "a", Batch = Batch("", "") };
                used.Add((await PublishAsync(broker, anywhere)).Partition);
            }

            Assert.Equal(4, used.Count);
            var stamped = new PublishRequest
            {
                Topic = "a",
                Batch = Batch("", ""),
                Producer = new ProducerStamp { Id = 7 },
            };
            var stored = await PublishAsync(broker, stamped);
            Assert.Equal((1U, channel != brokers.Channels[0]), (stored.Partition, stored.Duplicate));
        }
    }

    [Fact]
    public async Task A_reader_follows_a_partition_to_the_end_of_its_topic()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        var reads = brokers.Channels.Select(async channel =>
        {
            // It begins before there is a topic.
            using var call = new Protocol.V1.Broker.BrokerClient(channel).Read(
                new ReadRequest { Topic = "a", Partition = 2, Follow = true }, cancellationToken: Test);
            var (read, id) = (0L, 0UL);
            var refusal = await Assert.ThrowsAsync<RpcException>(async () =>
            {
                while (await call.ResponseStream.MoveNext(Test))
                {
                    (read, id) = (call.ResponseStream.Current.NextOffset, call.ResponseStream.Current.TopicId);
                }
            });
            return (read, id, refusal);
        }).ToList();
        await client.CreateTopicAsync("a", new TopicSettings { Partitions = 3 }, Test);
        ulong topicId = 0;
        for (var i = 0; i < 10; i++)
        {
            var ack = await client.PublishAsync("a", Message($"{i}") with { Partition = 2 }, Test);
            Assert.Equal((2, (long)i), (ack.Partition, ack.Offset));
            topicId = (await client.DescribeTopicAsync("a", Test)).Topic.Id;
        }

        await Task.Delay(300, Test);
        Assert.True(await client.DeleteTopicAsync("a", Test));
        foreach (var (read, id, refusal) in await Task.WhenAll(reads))
        {
            Assert.Equal((10L, topicId, StatusCode.NotFound), (read, id, refusal.StatusCode));
            Assert.Equal("TOPIC_DELETED", ReasonOf(refusal));
        }

        // One that is made under its name has nothing of it, on any node.
        for (var round = 0; round < 5; round++)
        {
            await client.CreateTopicAsync("a", new TopicSettings { Partitions = 3 + round }, Test);
            foreach (var channel in brokers.Channels)
            {
                Assert.Empty(await ReadAsync(new Protocol.V1.Broker.BrokerClient(channel), "a", 2));
            }

            Assert.Equal(0, (await client.PublishAsync("a", Message("x") with { Partition = 2 }, Test)).Offset);
            Assert.True(await client.DeleteTopicAsync("a", Test));
        }
    }

    [Fact]
    public async Task The_client_keeps_the_order_of_each_key_and_spreads_the_rest()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        Assert.Equal(6, (await client.CreateTopicAsync("a", new TopicSettings { Partitions = 6 }, Test)).Partitions);
        var sent = Enumerable.Range(0, 3_000)
            .Select(i => (Key: i % 5 == 0 ? "" : $"k{i % 37}", Value: $"{i}"))
            .ToList();
        var acks = await Task.WhenAll(sent.Select(each => client.PublishAsync(
            "a", Message(each.Value) with { Key = Encoding.UTF8.GetBytes(each.Key) }, Test).AsTask()));
        var read = new List<(int Partition, long Offset, string Key, string Value)>();
        for (var partition = 0; partition < 6; partition++)
        {
            await foreach (var record in client.ReadAsync(
                "a", new ReadOptions { Partition = partition, Linearizable = true }, Test))
            {
                read.Add((record.Partition, record.Offset, Text(record.Key), Text(record.Value)));
            }
        }

        Assert.Equal(
            sent.Select((each, i) => (acks[i].Partition, acks[i].Offset, each.Key, each.Value)).Order(),
            read.Order());
        foreach (var (key, records) in read.GroupBy(each => each.Key).Select(each => (each.Key, each.ToList())))
        {
            var partitions = records.Select(each => each.Partition).Distinct().Count();
            Assert.Equal(key.Length == 0 ? 6 : 1, partitions);
            Assert.True(key.Length == 0 || records.Select(each => int.Parse(each.Value)).SequenceEqual(
                records.Select(each => int.Parse(each.Value)).Order()));
        }

        var info = Assert.Single(await client.ListTopicsAsync(cancellationToken: Test));
        Assert.Equal(3_000, (await client.DescribeTopicAsync("a", Test)).Topic.NextOffset);
        Assert.Equal(6, info.Partitions.Count);
        Assert.Equal(acks.Where(ack => ack.Partition == 3).Max(ack => ack.Offset) + 1, await client.PurgePartitionAsync(
            "a", 3, cancellationToken: Test));
    }

    /// <summary>Whoever dies in the middle: the topic comes to be, whole, or it never was.</summary>
    [Fact]
    public async Task A_topic_is_made_whole_although_a_node_stops_in_the_middle()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        var admin = new Admin.AdminClient(brokers.Channels[1]);
        var making = Enumerable.Range(0, 20).Select(async i =>
        {
            await Task.Delay(i * 10, Test);
            try
            {
                await admin.CreateTopicAsync(
                    new CreateTopicRequest { Name = $"t{i}", Config = new TopicConfig { Partitions = 12 } },
                    cancellationToken: Test);
            }
            catch (RpcException)
            {
                // As the leader was lost; the same again must lead to the same topic.
            }
        }).ToList();
        await Task.Delay(60, Test);
        await brokers.StopAsync(0);
        await Task.WhenAll(making);
        for (var i = 0; i < 20; i++)
        {
            await client.CreateTopicAsync($"t{i}", new TopicSettings { Partitions = 12 }, Test);
            for (var partition = 0; partition < 12; partition++)
            {
                var ack = await client.PublishAsync($"t{i}", Message("v") with { Partition = partition }, Test);
                Assert.Equal((partition, 0L), (ack.Partition, ack.Offset));
            }
        }
    }

    [Fact]
    public async Task A_client_in_Python_computes_the_same_partitions()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        await CreateAsync(new Admin.AdminClient(brokers.Channels[0]), "a", 12);
        await using var client = await ForeignProcess.StartAsync(
            ForeignProcess.Python, "partition_client", brokers.Channels[0].Target, "a", "12");
        var (exitCode, text) = await client.WaitAsync(TimeSpan.FromSeconds(60));
        Assert.True(exitCode == 0, text);
        Assert.EndsWith("all passed", text.TrimEnd(), StringComparison.Ordinal);
    }

    private static Task<CreateTopicResponse> CreateAsync(
        Admin.AdminClient admin, string name, uint partitions) => admin.CreateTopicAsync(
        new CreateTopicRequest { Name = name, Config = new TopicConfig { Partitions = partitions } },
        cancellationToken: Test).ResponseAsync;

    private static Task<PublishResponse> PublishAsync(
        Protocol.V1.Broker.BrokerClient broker, string topic, uint partition, params string[] values)
    {
        var batch = new RecordBatch();
        batch.Records.AddRange(values.Select(value => new Record { Value = ByteString.CopyFromUtf8(value) }));
        return PublishAsync(broker, new PublishRequest { Topic = topic, Batch = batch, Partition = partition });
    }

    /// <summary>A node that has not heard of a topic yet asks for another try, as the contract says.</summary>
    private static async Task<PublishResponse> PublishAsync(
        Protocol.V1.Broker.BrokerClient broker, PublishRequest request)
    {
        while (true)
        {
            try
            {
                return await broker.PublishAsync(request, cancellationToken: Test);
            }
            catch (RpcException refusal) when (
                ReasonOf(refusal) == "PARTITIONS_CHANGED")
            {
                Assert.Equal(StatusCode.Unavailable, refusal.StatusCode);
                await Task.Delay(refusal.GetRpcStatus()!.GetDetail<RetryInfo>()!.RetryDelay.ToTimeSpan(), Test);
            }
        }
    }

    /// <summary>Each record's value is its place.</summary>
    private static RecordBatch Batch(params string[] keys)
    {
        var batch = new RecordBatch();
        batch.Records.AddRange(keys.Select((key, place) => new Record
        {
            Key = ByteString.CopyFromUtf8(key),
            Value = ByteString.CopyFromUtf8($"{place}"),
        }));
        return batch;
    }

    private static async Task<List<string>> ReadAsync(
        Protocol.V1.Broker.BrokerClient broker, string topic, uint partition)
    {
        var records = new List<string>();
        using var call = broker.Read(
            new ReadRequest { Topic = topic, Partition = partition, Linearizable = true }, cancellationToken: Test);
        while (await call.ResponseStream.MoveNext(Test))
        {
            records.AddRange(call.ResponseStream.Current.Batches.SelectMany(stored => stored.Batch.Records).Select(
                record => $"{record.Key.ToStringUtf8()}={record.Value.ToStringUtf8()}"));
        }

        return records;
    }

    private static BrokerMessage Message(string value) => new() { Value = Encoding.UTF8.GetBytes(value) };

    private static string Text(ReadOnlyMemory<byte> bytes) => Encoding.UTF8.GetString(bytes.Span);
}
