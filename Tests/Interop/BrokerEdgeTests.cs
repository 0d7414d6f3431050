using System.Diagnostics;
using System.Globalization;
using Broker.Client;
using Broker.Domain;
using Broker.Protocol.V1;
using Google.Protobuf;
using Grpc.Core;
using Xunit;
using ProducerStamp = Broker.Protocol.V1.ProducerStamp;
using Record = Broker.Protocol.V1.Record;

namespace Broker.Tests.Interop;

/// <summary>What a foreign client with gRPC's defaults meets at the edges of the brokers' contract.</summary>
public sealed class BrokerEdgeTests
{
    [Fact]
    public async Task A_node_whose_disk_is_almost_full_takes_no_publishes_and_is_read()
    {
        // Node 1 of three keeps more free than there is: the others lead, and everything goes on.
        string[] keepsAll = [$"--Broker:DiskReserveBytes={long.MaxValue / 4}"];
        await using (var brokers = await BrokerProcesses.StartAsync(3, node => node == 0 ? keepsAll : []))
        {
            await using var client = brokers.Connect();
            foreach (var i in Enumerable.Range(0, 12))
            {
                await client.PublishAsync($"t{i}", new BrokerMessage(), Test);
            }

            var cluster = await client.DescribeClusterAsync(Test);
            Assert.All(cluster.Shards, shard => Assert.NotEqual(1, shard.Leader));

            // A list is what the node that answers has applied, which may be a moment later.
            await Eventually.HoldsAsync(
                async () => (await client.ListTopicsAsync(cancellationToken: Test)).Count == 12,
                () => "all topics are listed");
        }

        // Alone it refuses what would be stored, and says why; what is there, and what gives space back, goes on.
        await using var alone = await BrokerProcesses.StartAsync(1, _ => keepsAll);
        var broker = new Protocol.V1.Broker.BrokerClient(alone.Channels[0]);
        var admin = new Admin.AdminClient(alone.Channels[0]);
        await admin.CreateTopicAsync(new CreateTopicRequest { Name = "a" }, cancellationToken: Test);
        var refusal = await Assert.ThrowsAsync<RpcException>(async () => await broker.PublishAsync(
            new PublishRequest { Topic = "a", Batch = new RecordBatch { Records = { new Record() } } },
            cancellationToken: Test));
        Assert.Equal(StatusCode.ResourceExhausted, refusal.StatusCode);
        Assert.Contains("Broker:DiskReserveBytes", refusal.Status.Detail, StringComparison.Ordinal);
        using var read = broker.Read(new ReadRequest { Topic = "a" }, cancellationToken: Test);
        Assert.False(await read.ResponseStream.MoveNext(Test));
        await admin.DeleteTopicAsync(new DeleteTopicRequest { Name = "a" }, cancellationToken: Test);
    }

    private static readonly CancellationToken Test = TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_is_accepted_can_be_read_by_a_default_client()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        var client = new Protocol.V1.Broker.BrokerClient(brokers.Channels[0]);
        var tooLarge = await Assert.ThrowsAsync<RpcException>(
            () => PublishAsync(client, "a", BatchOf(Limits.BatchBytes + 1)));
        Assert.Equal(StatusCode.ResourceExhausted, tooLarge.StatusCode);
        await PublishAsync(client, "a", BatchOf(100));
        await PublishAsync(client, "a", BatchOf(Limits.BatchBytes));
        await PublishAsync(client, "a", BatchOf(100));

        var sizes = new List<int>();
        using var call = client.Read(new ReadRequest { Topic = "a", Offset = 0 }, cancellationToken: Test);
        while (await call.ResponseStream.MoveNext(Test))
        {
            sizes.AddRange(call.ResponseStream.Current.Batches.Select(batch => batch.Batch.CalculateSize()));
        }

        Assert.Equal([100, Limits.BatchBytes, 100], sizes);
    }

    [Fact]
    public async Task A_batch_has_a_bound_on_its_records()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        var client = new Protocol.V1.Broker.BrokerClient(brokers.Channels[0]);
        var batch = new RecordBatch();
        batch.Records.Add(Enumerable.Repeat(new Record(), Limits.RecordsPerBatch));
        Assert.Equal((uint)Limits.RecordsPerBatch, (await PublishAsync(client, "a", batch)).Count);
        batch.Records.Add(new Record());
        var refusal = await Assert.ThrowsAsync<RpcException>(() => PublishAsync(client, "a", batch));
        Assert.Equal(StatusCode.ResourceExhausted, refusal.StatusCode);
        Assert.Contains("65,536 records", refusal.Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_topic_whose_bytes_are_not_UTF8_is_refused()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        var method = new Method<byte[], byte[]>(
            MethodType.Unary,
            "broker.v1.Broker",
            "Publish",
            Marshallers.Create(bytes => bytes, bytes => bytes),
            Marshallers.Create(bytes => bytes, bytes => bytes));

        // Topic FF FE, and a batch of one empty record.
        var call = brokers.Channels[0].CreateCallInvoker().AsyncUnaryCall(
            method, null, new CallOptions(cancellationToken: Test), [0x0A, 0x02, 0xFF, 0xFE, 0x12, 0x02, 0x0A, 0x00]);
        var refusal = await Assert.ThrowsAsync<RpcException>(() => call.ResponseAsync);
        Assert.Equal(StatusCode.InvalidArgument, refusal.StatusCode);
    }

    [Fact]
    public async Task A_sequence_that_is_not_the_next_is_refused_for_what_it_is()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        var client = new Protocol.V1.Broker.BrokerClient(brokers.Channels[0]);
        await SendAsync(100, records: 10);
        await AssertRefusedAsync(200, "send what lies between first");
        await AssertRefusedAsync(105, "part old and part new");
        await AssertRefusedAsync(50, "older than what the topic remembers");

        Task<PublishResponse> SendAsync(ulong sequence, int records)
        {
            var batch = new RecordBatch();
            batch.Records.Add(Enumerable.Repeat(new Record(), records));
            return client.PublishAsync(
                new PublishRequest
                {
                    Topic = "a",
                    Batch = batch,
                    Producer = new ProducerStamp { Id = 7, Sequence = sequence },
                },
                cancellationToken: Test).ResponseAsync;
        }

        async Task AssertRefusedAsync(ulong sequence, string sentence)
        {
            var refusal = await Assert.ThrowsAsync<RpcException>(() => SendAsync(sequence, records: 10));
            Assert.Equal(StatusCode.FailedPrecondition, refusal.StatusCode);
            Assert.Contains(sentence, refusal.Status.Detail, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Thirty_thousand_topics_of_long_names_are_listed_in_pages()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        const int Topics = 30_000;
        await using (var client = brokers.Connect())
        {
            await Task.WhenAll(Enumerable.Range(0, Topics).Select(async i => await client.PublishAsync(
                NameOf(i), new Client.BrokerMessage { Value = new byte[1] }, Test)));
            Assert.Equal(Topics, (await client.ListTopicsAsync(cancellationToken: Test)).Count);
        }

        var admin = new Admin.AdminClient(brokers.Channels[0]);
        var names = new List<string>();
        var request = new ListTopicsRequest { PageSize = uint.MaxValue };
        do
        {
            var page = await admin.ListTopicsAsync(request, cancellationToken: Test);
            names.AddRange(page.Topics.Select(topic => topic.Name));
            request.PageToken = page.NextPageToken;
        }
        while (request.PageToken.Length > 0);
        Assert.Equal(Enumerable.Range(0, Topics).Select(NameOf), names);
        Assert.Equal(
            1_000, (await admin.ListTopicsAsync(new ListTopicsRequest(), cancellationToken: Test)).Topics.Count);
        var few = await admin.ListTopicsAsync(
            new ListTopicsRequest { Filter = "t.*.*", PageSize = 2, PageToken = NameOf(7) }, cancellationToken: Test);
        Assert.Equal([NameOf(8), NameOf(9)], few.Topics.Select(topic => topic.Name));
    }

    [Fact]
    public async Task Live_subscriptions_are_listed_in_pages()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        var admin = new Admin.AdminClient(brokers.Channels[0]);
        foreach (var name in new[] { "c", "a", "b" })
        {
            await admin.PutLiveSubscriptionAsync(
                new PutLiveSubscriptionRequest { Name = name, Filters = { ">" } }, cancellationToken: Test);
        }

        var first = await admin.ListLiveSubscriptionsAsync(
            new ListLiveSubscriptionsRequest { PageSize = 2 }, cancellationToken: Test);
        Assert.Equal(["a", "b"], first.Subscriptions.Select(each => each.Name));
        var second = await admin.ListLiveSubscriptionsAsync(
            new ListLiveSubscriptionsRequest { PageSize = 2, PageToken = first.NextPageToken },
            cancellationToken: Test);
        Assert.Equal((1, ""), (second.Subscriptions.Count, second.NextPageToken));
    }

    [Fact]
    public async Task What_was_acknowledged_can_be_read_at_once_from_every_node()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        var clients = brokers.Channels.Select(channel => new Protocol.V1.Broker.BrokerClient(channel)).ToList();
        for (var i = 0; i < 200; i++)
        {
            var topic = i % 2 == 0 ? $"t.{i.ToString(CultureInfo.InvariantCulture)}" : "one";
            var offset = (await RetryAsync(() => PublishAsync(clients[i % 3], topic, BatchOf(100)))).BaseOffset;
            var read = await Task.WhenAll(clients.Select(
                client => RetryAsync(() => OffsetsAsync(client, topic, offset))));
            Assert.All(read, offsets => Assert.Equal([offset], offsets));
        }

        // What does not exist is told for what it is.
        var end = (await RetryAsync(() => PublishAsync(clients[0], "one", BatchOf(100)))).BaseOffset + 1;
        foreach (var client in clients)
        {
            var unknown = await Assert.ThrowsAsync<RpcException>(
                () => RetryAsync(() => OffsetsAsync(client, "unknown", 0)));
            Assert.Equal(StatusCode.NotFound, unknown.StatusCode);
            var beyond = await Assert.ThrowsAsync<RpcException>(
                () => RetryAsync(() => OffsetsAsync(client, "one", 1_000)));
            Assert.Equal(StatusCode.OutOfRange, beyond.StatusCode);
            Assert.Empty(await RetryAsync(() => OffsetsAsync(client, "one", end)));
        }
    }

    [Fact]
    public async Task A_stopping_broker_ends_its_streams_at_once_and_says_so()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        var client = new Protocol.V1.Broker.BrokerClient(brokers.Channels[0]);
        await PublishAsync(client, "a", BatchOf(100));
        using var read = client.Read(new ReadRequest { Topic = "a", Follow = true }, cancellationToken: Test);
        Assert.True(await read.ResponseStream.MoveNext(Test));
        var next = read.ResponseStream.MoveNext(Test);
        using var publish = client.PublishStream(cancellationToken: Test);
        var streamed = new StreamedPublish { Publish = new PublishRequest { Topic = "b", Batch = BatchOf(100) } };
        await publish.RequestStream.WriteAsync(new PublishStreamRequest { Publishes = { streamed } }, Test);
        Assert.True(await publish.ResponseStream.MoveNext(Test));
        var answer = publish.ResponseStream.MoveNext(Test);

        // A stream of a library's, which knows nothing of the stop.
        var reflection = new Grpc.Reflection.V1Alpha.ServerReflection.ServerReflectionClient(brokers.Channels[0]);
        using var names = reflection.ServerReflectionInfo(cancellationToken: Test);
        await names.RequestStream.WriteAsync(
            new Grpc.Reflection.V1Alpha.ServerReflectionRequest { ListServices = "" }, Test);
        Assert.True(await names.ResponseStream.MoveNext(Test));

        var watch = Stopwatch.StartNew();
        await brokers.StopAsync(0);
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(5), $"It took {watch.Elapsed} to stop.");
        foreach (var stream in new[] { next, answer })
        {
            var ended = await Assert.ThrowsAsync<RpcException>(() => stream);
            Assert.True(
                ended.StatusCode == StatusCode.Unavailable
                && ended.Status.Detail.Contains("stops", StringComparison.Ordinal),
                ended.Status.ToString());
        }
    }

    // A busy machine makes elections and replicas that lag: the contract says to come again. It never says so for
    // NOT_FOUND and OUT_OF_RANGE, which are what this is about.
    private static Task<T> RetryAsync<T>(Func<Task<T>> call) => ForeignCalls.RetryAsync(
        call, StatusCode.Unavailable, StatusCode.Aborted, StatusCode.FailedPrecondition);

    private static string NameOf(int i) =>
        $"t.{new string('x', 190)}.{i.ToString("D5", CultureInfo.InvariantCulture)}";

    /// <summary>A batch that is encoded in so many bytes.</summary>
    private static RecordBatch BatchOf(int sizeBytes)
    {
        var batch = new RecordBatch();
        while (sizeBytes - batch.CalculateSize() is > 0 and var left)
        {
            var record = new Record { Value = ByteString.CopyFrom(new byte[Math.Min(left, 900_000)]) };
            batch.Records.Add(record);
            if (batch.CalculateSize() - sizeBytes is > 0 and var over)
            {
                record.Value = ByteString.CopyFrom(new byte[record.Value.Length - over]);
            }
        }

        Assert.Equal(sizeBytes, batch.CalculateSize());
        return batch;
    }

    private static async Task<PublishResponse> PublishAsync(
        Protocol.V1.Broker.BrokerClient client, string topic, RecordBatch batch) =>
        await client.PublishAsync(new PublishRequest { Topic = topic, Batch = batch }, cancellationToken: Test);

    private static async Task<List<long>> OffsetsAsync(
        Protocol.V1.Broker.BrokerClient client, string topic, long offset)
    {
        var offsets = new List<long>();
        using var call = client.Read(new ReadRequest { Topic = topic, Offset = offset }, cancellationToken: Test);
        while (await call.ResponseStream.MoveNext(Test))
        {
            offsets.AddRange(call.ResponseStream.Current.Batches.Select(batch => batch.BaseOffset));
        }

        return offsets;
    }
}
