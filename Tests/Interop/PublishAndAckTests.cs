using System.Collections.Concurrent;
using System.Text;
using Broker.Client;
using Broker.Protocol.V1;
using Google.Protobuf;
using Google.Rpc;
using Grpc.Core;
using Xunit;
using static Broker.Tests.Interop.ForeignCalls;

namespace Broker.Tests.Interop;

/// <summary>Records that are finished by the same entry of the log that stores what was made of them.</summary>
public sealed class PublishAndAckTests(ITestOutputHelper output)
{
    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task A_result_is_published_and_its_record_is_finished(int nodes)
    {
        await using var brokers = await BrokerProcesses.StartAsync(nodes);
        await using var client = brokers.Connect();
        await using var consumer = await client.ConsumeAsync(
            "work", new ConsumeOptions { Filters = ["in.{a}"], MaxUnsettledRecords = 5 }, Test);
        for (var i = 0; i < 40; i++)
        {
            await client.PublishAsync("in.{a}", Message($"{i}"), Test);
        }

        // More than the consumer may hold at a time: what is finished is given back.
        var records = new List<GroupRecord>();
        await foreach (var record in consumer.WithCancellation(Test))
        {
            records.Add(record);
            var ack = await record.PublishAndAckAsync("out.{a}", Message($"{Text(record)}!"), Test);
            Assert.Equal(records.Count - 1, ack.Offset);
            if (records.Count == 40)
            {
                break;
            }
        }

        Assert.Equal(
            Enumerable.Range(0, 40).Select(static i => $"{i}!"), await ValuesAsync(client, "out.{a}"));
        var found = await client.DescribeGroupAsync("work", Test);
        Assert.Equal((40L, 0L), (Assert.Single(found.Progress).AckFloor, found.Group.Lag));

        // What is finished stays so, and has one result.
        Assert.True(await records[0].AckAsync(Test));
        var lost = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await records[3].PublishAndAckAsync("out.{a}", Message("again"), Test));
        Assert.Equal(BrokerClientErrorCode.LeaseLost, lost.Code);
        Assert.Equal(40, (await ValuesAsync(client, "out.{a}")).Count);
    }

    [Fact]
    public async Task Several_records_of_several_groups_and_topics_are_finished_at_once()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        foreach (var topic in (string[])["x.{a}", "y.{a}", "x.{a}"])
        {
            await client.PublishAsync(topic, Message(topic), Test);
        }

        var patience = TimeSpan.FromSeconds(10);
        var first = new List<GroupRecord>();
        while (first.Count < 3)
        {
            first.AddRange(await client.FetchAsync("one", 100, patience, ["*.{a}"], Test));
        }

        var second = await client.FetchAsync("two", 1, patience, ["y.{a}"], Test);
        var acks = await client.PublishAtomicAsync(
            [Part("sum.{a}", "3"), Part("sum.{a}", "1"), Part("log.{a}", "done")], [.. first, .. second], Test);
        Assert.Equal([0L, 1, 0], acks.Select(static ack => ack.Offset));
        Assert.Equal(0, (await client.DescribeGroupAsync("two", Test)).Group.Lag);
        Assert.All(
            (await client.DescribeGroupAsync("one", Test)).Progress.Where(static each => each.Topic[0] is 'x' or 'y'),
            static each => Assert.Equal(each.NextOffset, each.AckFloor));
    }

    [Fact]
    public async Task Nothing_is_done_when_a_record_is_not_the_consumers_any_more()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        var channel = brokers.Channels[1];
        var broker = new Protocol.V1.Broker.BrokerClient(channel);
        await using var client = brokers.Connect();
        await client.CreateGroupAsync("g", new GroupSettings { Filters = ["in.{a}"] }, cancellationToken: Test);
        await client.PublishAtomicAsync(
            [new AtomicPart { Topic = "in.{a}", Messages = [.. Enumerable.Range(0, 6).Select(i => Message($"{i}"))] }],
            Test);
        await using var stream = await GroupStream.OpenAsync(channel, "g");
        var delivery = (await stream.NextAsync())!;
        Assert.Equal(6U, delivery.Count);

        // One goes back and comes again, under another lease; one is settled.
        await stream.SettleAsync(correlation => new ConsumeRequest
        {
            Nack = new Nack
            {
                Correlation = correlation,
                Ranges = { GroupStream.RangeOf(delivery.Token, 1, 2) },
                DelayMs = 0,
            },
        });
        var again = (await stream.NextAsync())!;
        Assert.Equal((1L, 2U, 2U), (again.BaseOffset, again.Count, again.Attempt));
        Assert.Equal(0U, (await stream.AckAsync(delivery, 5)).Status);

        var refusal = await RefusedAsync(
            StatusCode.NotFound,
            "LEASE_LOST",
            "0:1-2",
            () => SendAsync(broker, [GroupStream.RangeOf(delivery.Token)], Part("out.{a}")));
        Assert.Equal("0:1-2", refusal.GetRpcStatus()!.GetDetail<ErrorInfo>()!.Metadata["lost"]);
        refusal = await RefusedAsync(
            StatusCode.NotFound,
            "LEASE_LOST",
            "settled otherwise",
            () => SendAsync(
                broker,
                [GroupStream.RangeOf(delivery.Token, 0, 1), GroupStream.RangeOf(delivery.Token, 3)],
                Part("out.{a}")));
        Assert.Equal("1:5", refusal.GetRpcStatus()!.GetDetail<ErrorInfo>()!.Metadata["lost"]);
        Assert.Equal(0, await LengthAsync(client, "out.{a}"));
        Assert.Equal(0, Assert.Single((await client.DescribeGroupAsync("g", Test)).Progress).AckFloor);

        // The others are the consumer's still.
        await SendAsync(
            broker,
            [
                GroupStream.RangeOf(delivery.Token, 0, 1),
                GroupStream.RangeOf(again.Token),
                GroupStream.RangeOf(delivery.Token, 3, 2),
                GroupStream.RangeOf(delivery.Token, 4, 1),
            ],
            Part("out.{a}"));
        Assert.Equal(6, Assert.Single((await client.DescribeGroupAsync("g", Test)).Progress).AckFloor);
        Assert.Equal(1, await LengthAsync(client, "out.{a}"));
    }

    [Fact]
    public async Task A_record_is_given_back_by_time_when_its_result_is_refused()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        var broker = new Protocol.V1.Broker.BrokerClient(brokers.Channels[0]);
        await using var client = brokers.Connect();
        await client.CreateGroupAsync(
            "g",
            new GroupSettings { Filters = ["in.{a}"], AckWait = TimeSpan.FromSeconds(3) },
            cancellationToken: Test);
        await client.PublishAsync("in.{a}", Message("1"), Test);
        await using var stream = await GroupStream.OpenAsync(brokers.Channels[0], "g");
        var delivery = (await stream.NextAsync())!;
        DeliveredRange[] acks = [GroupStream.RangeOf(delivery.Token)];
        var other = Part("out.{a}");
        other.ExpectedOffset = 7;
        await RefusedAsync(
            StatusCode.FailedPrecondition, "UNEXPECTED_OFFSET", () => SendAsync(broker, acks, Part("more.{a}"), other));
        Assert.Equal(0, Assert.Single((await client.DescribeGroupAsync("g", Test)).Progress).AckFloor);
        var again = (await stream.NextAsync())!;
        Assert.Equal(2U, again.Attempt);
        other.ExpectedOffset = 0;
        await SendAsync(broker, [GroupStream.RangeOf(again.Token)], other);
        Assert.Equal(1, Assert.Single((await client.DescribeGroupAsync("g", Test)).Progress).AckFloor);
    }

    [Fact]
    public async Task A_repetition_is_known_by_its_stamps_though_its_records_are_settled()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        await client.CreateGroupAsync("g", new GroupSettings { Filters = ["in.{a}"] }, cancellationToken: Test);
        await client.PublishAsync("in.{a}", Message("1"), Test);
        await using var stream = await GroupStream.OpenAsync(brokers.Channels[0], "g");
        DeliveredRange[] acks = [GroupStream.RangeOf((await stream.NextAsync())!.Token)];
        var part = Part("out.{a}");
        part.Producer = new Protocol.V1.ProducerStamp { Id = 7, Epoch = 1 };
        foreach (var (channel, at) in brokers.Channels.Select((channel, at) => (channel, at)))
        {
            var answer = await SendAsync(new Protocol.V1.Broker.BrokerClient(channel), acks, part);
            Assert.Equal((at > 0, 0L), (answer.Duplicate, Assert.Single(answer.Parts).BaseOffset));
        }

        part.Producer.Sequence = 1;
        await RefusedAsync(
            StatusCode.NotFound,
            "LEASE_LOST",
            () => SendAsync(new Protocol.V1.Broker.BrokerClient(brokers.Channels[2]), acks, part));
        Assert.Equal(1, await LengthAsync(client, "out.{a}"));
    }

    [Fact]
    public async Task What_cannot_be_is_refused()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        var broker = new Protocol.V1.Broker.BrokerClient(brokers.Channels[0]);
        await using var client = brokers.Connect();
        await client.CreateGroupAsync("g", new GroupSettings { Filters = ["in.{a}"] }, cancellationToken: Test);
        await client.PublishAsync("in.{a}", Message("1"), Test);
        await using var stream = await GroupStream.OpenAsync(brokers.Channels[0], "g");
        var token = (await stream.NextAsync())!.Token;
        var elsewhere = await Task.WhenAll(Enumerable.Range(0, 9).Select(async i =>
        {
            try
            {
                await SendAsync(broker, [GroupStream.RangeOf(token)], Part($"out.{{{i}}}"));
                return "";
            }
            catch (RpcException refusal) when (ReasonOf(refusal) == "DIFFERENT_SHARDS")
            {
                Assert.Contains("'in.{a}'", refusal.Status.Detail, StringComparison.Ordinal);
                return "elsewhere";
            }
            catch (RpcException refusal) when (ReasonOf(refusal) == "LEASE_LOST")
            {
                return "";
            }
        }));
        Assert.Contains("elsewhere", elsewhere);
        await RefusedAsync(
            StatusCode.InvalidArgument,
            "INVALID_REQUEST",
            "token",
            () => SendAsync(broker, [GroupStream.RangeOf(ByteString.CopyFromUtf8("no token"))], Part("out.{a}")));
        await RefusedAsync(
            StatusCode.InvalidArgument,
            "INVALID_REQUEST",
            "token",
            () => SendAsync(broker, [GroupStream.RangeOf(token, 0, 2)], Part("out.{a}")));
        await RefusedAsync(
            StatusCode.InvalidArgument,
            "INVALID_REQUEST",
            "1,000 ranges",
            () => SendAsync(
                broker, [.. Enumerable.Repeat(GroupStream.RangeOf(token), 1_001)], Part("out.{a}")));
        await RefusedAsync(
            StatusCode.InvalidArgument,
            "INVALID_REQUEST",
            "1 to 1,000 parts",
            () => SendAsync(broker, [GroupStream.RangeOf(token)]));
    }

    /// <summary>
    /// Leases are short and every node dies once: what is worked on several times has one result all the same.
    /// </summary>
    [Fact]
    public async Task Every_record_has_one_result_though_leaders_are_killed()
    {
        const int Records = 600;
        await using var brokers = new KilledBrokers();
        brokers.StartAll();
        await brokers.BecomesHealthyAsync(1, 2, 3);
        await using var client = brokers.Connect(1, 2, 3);
        await client.CreateGroupAsync(
            "g",
            new GroupSettings { Filters = ["in.{a}"], AckWait = TimeSpan.FromSeconds(1), MaxDeliveries = 0 },
            cancellationToken: Test);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(Test);
        var lost = new ConcurrentBag<string>();
        var working = Enumerable.Range(0, 3).Select(worker => Task.Run(
            () => WorkAsync(brokers, worker, lost, end.Token), Test)).ToArray();
        var publishing = Task.Run(
            async () =>
            {
                for (var i = 0; i < Records; i++)
                {
                    await client.PublishAsync("in.{a}", Message($"{i}"), Test);
                    await Task.Delay(20, Test);
                }
            },
            Test);
        foreach (var node in (int[])[1, 2, 3])
        {
            await Task.Delay(2_500, Test);
            await brokers.KillAsync(node);
            await Task.Delay(1_500, Test);
            brokers.Start(node);
        }

        await publishing;
        await brokers.BecomesHealthyAsync(1, 2, 3);
        await Eventually.HoldsAsync(
            async () => (await client.DescribeGroupAsync("g", Test)).Progress is [{ AckFloor: Records }],
            () => "all is finished",
            60);
        await end.CancelAsync();
        await Task.WhenAll(working);
        output.WriteLine($"{lost.Count} results were refused, as another consumer had the record");
        Assert.Equal(
            Enumerable.Range(0, Records).Select(static i => $"{i}").Order(),
            (await ValuesAsync(client, "out.{a}")).Order());
    }

    /// <summary>Some work takes longer than the lease, so that others get the record too.</summary>
    private static async Task WorkAsync(
        KilledBrokers brokers, int worker, ConcurrentBag<string> lost, CancellationToken end)
    {
        var random = new Random(worker);
        await using var client = brokers.Connect(1, 2, 3);
        await using var consumer = await client.ConsumeAsync(
            "g", new ConsumeOptions { MaxUnsettledRecords = 10 }, Test);
        try
        {
            await foreach (var record in consumer.WithCancellation(end))
            {
                await Task.Delay(random.Next(10) == 0 ? 1_200 : 1, end);
                try
                {
                    await record.PublishAndAckAsync("out.{a}", Message(Text(record)), Test);
                }
                catch (BrokerClientException refusal) when (refusal.Code == BrokerClientErrorCode.LeaseLost)
                {
                    lost.Add(Text(record));
                }
            }
        }
        catch (OperationCanceledException) when (end.IsCancellationRequested)
        {
            // All is done.
        }
    }

    private static BrokerMessage Message(string value) => new() { Value = Encoding.UTF8.GetBytes(value) };

    private static string Text(GroupRecord record) => Encoding.UTF8.GetString(record.Record.Value.Span);

    private static AtomicPart Part(string topic, string value) =>
        new() { Topic = topic, Messages = [Message(value)] };

    private static PublishRequest Part(string topic) => new()
    {
        Topic = topic,
        Batch = new RecordBatch { Records = { new Protocol.V1.Record { Value = ByteString.CopyFromUtf8("result") } } },
    };

    /// <summary>As every client does: UNAVAILABLE says that nothing was done, and to send again.</summary>
    private static Task<PublishAtomicResponse> SendAsync(
        Protocol.V1.Broker.BrokerClient broker, DeliveredRange[] acks, params PublishRequest[] parts) => RetryAsync(
            () => broker.PublishAtomicAsync(
                new PublishAtomicRequest { Parts = { parts }, Acks = { acks } }, cancellationToken: Test).ResponseAsync,
            StatusCode.Unavailable);

    private static async Task<List<string>> ValuesAsync(BrokerClient client, string topic)
    {
        var values = new List<string>();
        await foreach (var record in client.ReadAsync(topic, new ReadOptions { Linearizable = true }, Test))
        {
            values.Add(Encoding.UTF8.GetString(record.Value.Span));
        }

        return values;
    }

    private static async Task<long> LengthAsync(BrokerClient client, string topic)
    {
        try
        {
            return (await ValuesAsync(client, topic)).Count;
        }
        catch (BrokerClientException missing) when (missing.Code == BrokerClientErrorCode.NotFound)
        {
            return 0;
        }
    }
}
