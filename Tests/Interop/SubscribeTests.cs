using System.Collections.Concurrent;
using System.Text;
using Broker.Client;
using Broker.Protocol.V1;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>Following many topics by filter, as a foreign client and as the .NET client see it.</summary>
public sealed class SubscribeTests
{
    private static readonly CancellationToken Test = TestContext.Current.CancellationToken;

    [Fact]
    public async Task Every_node_sends_each_topic_of_a_filter_once_and_in_order()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        await client.PublishAsync("orders.eu.old", Message("before"), Test);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Test);
        var followers = new List<Follower>();
        foreach (var channel in brokers.Channels)
        {
            // The filters overlap: a topic that both match comes once.
            var request = new SubscribeRequest { Filters = { "orders.>", "orders.eu.*" } };
            followers.Add(await Follower.StartAsync(channel, request, stop.Token));
        }

        for (var i = 0; i < 200; i++)
        {
            await client.PublishAsync($"orders.eu.{i % 20}", Message($"{i}"), Test);
            await client.PublishAsync("other.eu", Message("unwanted"), Test);
            await client.PublishAsync("orders", Message("unwanted"), Test);
        }

        await client.PublishAsync("orders.eu.old", Message("after"), Test);
        foreach (var follower in followers)
        {
            await Eventually.HoldsAsync(() => follower.Records == 201, "what was published has come");
            Assert.Equal(21, follower.Topics.Count);
            foreach (var (topic, values) in follower.Topics)
            {
                Assert.StartsWith("orders.eu.", topic, StringComparison.Ordinal);
                var of = topic["orders.eu.".Length..];
                Assert.Equal(
                    of == "old"
                        ? ["after"]
                        : Enumerable.Range(0, 10).Select(i => $"{int.Parse(of, null) + (20 * i)}"),
                    values);
            }
        }

        await stop.CancelAsync();
        foreach (var follower in followers)
        {
            Assert.Equal(StatusCode.Cancelled, (await follower.Ended).StatusCode);
        }
    }

    [Fact]
    public async Task A_subscription_goes_on_elsewhere_with_what_it_was_told_and_misses_nothing()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        foreach (var topic in (string[])["a.seen", "a.silent", "a.gone"])
        {
            await client.PublishAsync(topic, Message("before"), Test);
        }

        // In the millisecond of the token's moment what was before may come again.
        await Task.Delay(5, Test);
        await client.PublishAsync("b", Message("passes the time of a shard"), Test);
        var request = new SubscribeRequest { Filters = { "a.*" } };
        Follower first;
        using (var stop = CancellationTokenSource.CreateLinkedTokenSource(Test))
        {
            first = await Follower.StartAsync(brokers.Channels[0], request, stop.Token);
            await client.PublishAsync("a.seen", Message("one"), Test);
            await client.PublishAsync("a.gone", Message("one"), Test);
            await Eventually.HoldsAsync(() => first.Records == 2, "both have come");
            await stop.CancelAsync();
            await first.Ended;
        }

        await client.PublishAsync("a.seen", Message("two"), Test);
        await client.PublishAsync("a.silent", Message("two"), Test);
        await client.PublishAsync("a.new", Message("two"), Test);
        await client.DeleteTopicAsync("a.gone", Test);
        await client.PublishAsync("a.gone", Message("another topic"), Test);

        request.ResumeToken = first.ResumeToken;
        request.Positions.AddRange(first.Positions);
        using var stopSecond = CancellationTokenSource.CreateLinkedTokenSource(Test);
        var second = await Follower.StartAsync(brokers.Channels[1], request, stopSecond.Token);
        await Eventually.HoldsAsync(() => second.Topics.Count == 4, "every topic has sent something");
        Assert.Equal(["two"], second.Topics["a.seen"]);
        Assert.Equal("two", second.Topics["a.silent"][^1]);
        Assert.Equal(["two"], second.Topics["a.new"]);
        Assert.Equal(["another topic"], second.Topics["a.gone"]);

        // Whatever the start: an absent one begins at the end, and BEGINNING and a time where they say.
        request = new SubscribeRequest { Filters = { "a.*" }, Position = StartPosition.Beginning };
        var all = await Follower.StartAsync(brokers.Channels[2], request, stopSecond.Token);
        await Eventually.HoldsAsync(() => all.Records == 7, "everything that is kept has come");
        Assert.Equal(["before", "one", "two"], all.Topics["a.seen"]);
        request = new SubscribeRequest { Filters = { "a.*" }, TimeUnixMs = long.MaxValue };
        var none = await Follower.StartAsync(brokers.Channels[2], request, stopSecond.Token);
        await client.PublishAsync("a.seen", Message("three"), Test);
        await Eventually.HoldsAsync(() => none.Records == 1, "only what comes later");
        await stopSecond.CancelAsync();
        await Task.WhenAll(second.Ended, all.Ended, none.Ended);
    }

    [Fact]
    public async Task A_node_that_lags_begins_at_the_end_that_its_leader_knows()
    {
        await using var brokers = new KilledBrokers();
        await brokers.FormAsync();
        brokers.Pause(3);
        await using var client = brokers.Connect(1, 2);
        for (var i = 0; i < 200; i++)
        {
            await client.PublishAsync("a.b", Message($"before {i} {new string('x', 50_000)}"), Test);
        }

        // It is asked before it can have all that.
        brokers.Resume(3);
        using var channel = GrpcChannel.ForAddress(brokers.GrpcOf(3));
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Test);
        var byFilter = Follower.StartAsync(channel, new SubscribeRequest { Filters = { "a.*" } }, stop.Token);
        using var byName = new Protocol.V1.Broker.BrokerClient(channel).Read(
            new ReadRequest { Topic = "a.b", Position = StartPosition.End, Follow = true }, cancellationToken: Test);
        var follower = await byFilter;
        var first = byName.ResponseStream.MoveNext(Test);

        // The read says nothing before there is something: so it is asked again until it has begun.
        for (var i = 0; !first.IsCompleted || follower.Records == 0; i++)
        {
            await client.PublishAsync("a.b", Message($"after {i}"), Test);
            await Task.Delay(20, Test);
        }

        Assert.Equal("after 0", follower.Topics["a.b"][0]);
        Assert.True(await first);
        var read = byName.ResponseStream.Current.Batches[0].Batch.Records[0].Value.ToStringUtf8();
        Assert.StartsWith("after ", read, StringComparison.Ordinal);
        await stop.CancelAsync();
        await follower.Ended;
    }

    [Fact]
    public async Task A_client_gets_every_record_once_while_nodes_stop_and_it_is_slow_itself()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        await using var subscription = await client.SubscribeAsync(["load.>"], cancellationToken: Test);
        var payload = new string('x', 16 * 1024);
        const int Topics = 10;
        const int Each = 60;
        for (var i = 0; i < Each; i++)
        {
            if (i == Each / 2)
            {
                await brokers.StopAsync(1);
            }

            await Task.WhenAll(Enumerable.Range(0, Topics).Select(
                topic => client.PublishAsync($"load.{topic}", Message($"{i} {payload}"), Test).AsTask()));
        }

        // It begins to read only now, and stops twice on the way: nobody else held this for it.
        var got = new Dictionary<string, List<long>>();
        var count = 0;
        foreach (var until in (int[])[100, 300, Topics * Each])
        {
            await foreach (var record in subscription.WithCancellation(Test))
            {
                var value = Encoding.UTF8.GetString(record.Value.Span);
                Assert.StartsWith($"{record.Offset} ", value, StringComparison.Ordinal);
                got.TryAdd(record.Topic, []);
                got[record.Topic].Add(record.Offset);
                if (++count == until)
                {
                    break;
                }
            }
        }

        Assert.Equal(Topics, got.Count);
        Assert.All(got.Values, offsets => Assert.Equal(Enumerable.Range(0, Each).Select(i => (long)i), offsets));
    }

    [Fact]
    public async Task What_cannot_be_subscribed_to_is_refused_with_a_sentence()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        await using var client = brokers.Connect();
        await client.PublishAsync("a", Message("x"), Test);
        var topic = (await new Admin.AdminClient(brokers.Channels[0]).DescribeTopicAsync(
            new DescribeTopicRequest { Name = "a" },
            cancellationToken: Test)).Topic;
        var many = new SubscribeRequest();
        many.Filters.AddRange(Enumerable.Range(0, 101).Select(i => $"t{i}"));
        TopicPosition At(string name, ulong id, long offset = 0) =>
            new() { Topic = name, TopicId = id, NextOffset = offset };
        (SubscribeRequest Request, string Sentence)[] cases =
        [
            (new SubscribeRequest(), "1 to 100 filters"),
            (many, "101"),
            (new SubscribeRequest { Filters = { "a..b" } }, "filter"),
            (new SubscribeRequest { Filters = { ">" }, Position = StartPosition.LastPerKey }, "LAST_PER_KEY"),
            (new SubscribeRequest { Filters = { ">" }, TimeUnixMs = -1 }, "time_unix_ms"),
            (new SubscribeRequest { Filters = { ">" }, ResumeToken = ByteString.CopyFromUtf8("mine") }, "resume_token"),
            (new SubscribeRequest { Filters = { ">" }, Positions = { At("a", 0) } }, "topic_id"),
            (new SubscribeRequest { Filters = { ">" }, Positions = { At("a", 1, -1) } }, "next_offset"),
            (new SubscribeRequest { Filters = { ">" }, Positions = { At("a b", 1) } }, "space"),
            (new SubscribeRequest { Filters = { ">" }, Positions = { At("a", 1) } }, "topic_id"),
            (new SubscribeRequest { Filters = { "b.>" }, Positions = { At("a", topic.TopicId) } }, "no filter matches"),
        ];
        foreach (var (request, sentence) in cases)
        {
            using var call = new Protocol.V1.Broker.BrokerClient(brokers.Channels[0]).Subscribe(
                request, cancellationToken: Test);
            var refusal = await Assert.ThrowsAsync<RpcException>(() => call.ResponseStream.MoveNext(Test));
            Assert.Equal(StatusCode.InvalidArgument, refusal.StatusCode);
            Assert.Contains(sentence, refusal.Status.Detail, StringComparison.Ordinal);
            Assert.Equal("INVALID_REQUEST", ForeignCalls.ReasonOf(refusal));
        }

        var told = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.SubscribeAsync(["a..b"], cancellationToken: Test));
        Assert.Equal(BrokerClientErrorCode.InvalidArgument, told.Code);

        // A node that stops says so, and does not wait for its subscribers.
        using var follower = new Protocol.V1.Broker.BrokerClient(brokers.Channels[0]).Subscribe(
            new SubscribeRequest { Filters = { ">" } }, cancellationToken: Test);
        Assert.True(await follower.ResponseStream.MoveNext(Test));
        var stopping = brokers.StopAsync(0);
        var ended = await Assert.ThrowsAsync<RpcException>(() => follower.ResponseStream.MoveNext(Test));
        Assert.Equal(StatusCode.Unavailable, ended.StatusCode);
        await stopping;
    }

    private static BrokerMessage Message(string text) => new() { Value = Encoding.UTF8.GetBytes(text) };

    /// <summary>A foreign client's subscription: what came, by topic.</summary>
    private sealed class Follower
    {
        private int _records;

        public ConcurrentDictionary<string, List<string>> Topics { get; } = new();

        public ByteString ResumeToken { get; private init; } = ByteString.Empty;

        public List<TopicPosition> Positions { get; } = [];

        public int Records => Volatile.Read(ref _records);

        public required Task<RpcException> Ended { get; init; }

        public static async Task<Follower> StartAsync(
            ChannelBase channel, SubscribeRequest request, CancellationToken stop)
        {
            var call = new Protocol.V1.Broker.BrokerClient(channel).Subscribe(request, cancellationToken: stop);
            Assert.True(await call.ResponseStream.MoveNext(stop));
            var began = call.ResponseStream.Current;
            Assert.True(began.Topic.Length == 0 && began.Read is null && !began.ResumeToken.IsEmpty);
            var ended = new TaskCompletionSource<RpcException>();
            var follower = new Follower { ResumeToken = began.ResumeToken, Ended = ended.Task };
            _ = Task.Run(
                async () => ended.SetResult(await Assert.ThrowsAsync<RpcException>(() => follower.ReadAsync(call))),
                CancellationToken.None);
            return follower;
        }

        private async Task ReadAsync(AsyncServerStreamingCall<SubscribeResponse> call)
        {
            using (call)
            {
                while (await call.ResponseStream.MoveNext(CancellationToken.None))
                {
                    Take(call.ResponseStream.Current);
                }
            }
        }

        private void Take(SubscribeResponse response)
        {
            var values = Topics.GetOrAdd(response.Topic, _ => []);
            Positions.RemoveAll(position => position.Topic == response.Topic);
            Positions.Add(new TopicPosition
            {
                Topic = response.Topic,
                TopicId = response.Read.TopicId,
                NextOffset = response.Read.NextOffset,
            });
            foreach (var record in response.Read.Batches.SelectMany(batch => batch.Batch.Records))
            {
                values.Add(record.Value.ToStringUtf8());
                Interlocked.Increment(ref _records);
            }
        }
    }
}
