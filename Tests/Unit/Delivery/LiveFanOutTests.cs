using System.Collections.Concurrent;
using Broker.Delivery;
using Broker.Domain;
using Broker.Protocol.V1;
using Microsoft.Extensions.Logging;
using StackExchange.Redis;
using Xunit;
using LiveSubscription = Broker.ClusterState.LiveSubscription;

namespace Broker.Tests.Unit.Delivery;

/// <summary>The live fan-out with a real redis-server.</summary>
public sealed class LiveFanOutTests : IDisposable
{
    private static readonly GroupId Led = new(1);

    private readonly RedisServer _server = new();
    private readonly LogLines _log = new();
    private LiveFanOut? _fanOut;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _fanOut?.Dispose();
        _server.Dispose();
        _log.Dispose();
    }

    [Fact]
    public async Task Wanted_batches_arrive_in_offset_order()
    {
        await _server.StartAsync(Stop);
        var fanOut = Create();
        await fanOut.StartAsync(Stop);
        using var subscriber = await SubscribeAsync("broker:orders.*");
        for (var i = 0; i < 500; i++)
        {
            Append(fanOut, "orders.eu", i * 2, [0x0A, 0x00, 0x0A, 0x00]);
            Append(fanOut, "other", i, [0x0A, 0x00]);
        }

        await Poll.UntilAsync(() => subscriber.Batches.Count == 500, Stop);
        Assert.Equal(
            Enumerable.Range(0, 500).Select(i => i * 2L), subscriber.Batches.Select(batch => batch.BaseOffset));
        var first = subscriber.Batches.First();
        Assert.Equal(("orders.eu", 2U), (first.Topic, first.Count));
        Assert.Equal("0A000A00", Convert.ToHexString(first.Batch.Span));
        await Poll.UntilAsync(() => fanOut.PublishedBatches == 500, Stop);
        Assert.Equal(0, fanOut.DroppedBatches);
        await fanOut.StopAsync(Stop);
    }

    [Fact]
    public async Task A_large_batch_is_announced_by_its_offsets_alone()
    {
        await _server.StartAsync(Stop);
        var fanOut = Create();
        await fanOut.StartAsync(Stop);
        using var subscriber = await SubscribeAsync("broker:*");
        Append(fanOut, "orders.eu", 0, new byte[Limits.LiveBatchBytes]);
        Append(fanOut, "orders.eu", 2, new byte[Limits.LiveBatchBytes + 1]);
        await Poll.UntilAsync(() => subscriber.Batches.Count == 2, Stop);
        Assert.Equal([Limits.LiveBatchBytes, 0], subscriber.Batches.Select(batch => batch.Batch.Length));
        Assert.Equal([0L, 2L], subscriber.Batches.Select(batch => batch.BaseOffset));
        await fanOut.StopAsync(Stop);
    }

    [Fact]
    public void Only_a_leader_queues_and_only_what_is_wanted_and_fresh()
    {
        var fanOut = Create();
        Append(fanOut, "orders.eu", 0, [1], new GroupId(2));
        Append(fanOut, "other", 0, [1]);
        fanOut.OnAppended(Led, "orders.eu", 0, 1, Now() - 60_000, new byte[1]);
        Assert.Equal(0, fanOut.QueuedBatches);
        Append(fanOut, "orders.eu", 0, [1]);
        Assert.Equal(1, fanOut.QueuedBatches);
        fanOut.SetSubscriptions([]);
        Append(fanOut, "orders.eu", 0, [1]);
        Assert.Equal(1, fanOut.QueuedBatches);
        fanOut.SetSubscriptions([new LiveSubscription("s", ["other"])]);
        Append(fanOut, "other", 0, [1]);
        Assert.Equal(2, fanOut.QueuedBatches);
    }

    [Fact]
    public async Task Redis_that_comes_late_gets_what_fits_the_queue()
    {
        var fanOut = Create(new LiveFanOutOptions { ConnectionString = _server.ConnectionString, QueueBatches = 3 });
        await fanOut.StartAsync(Stop);
        await Poll.UntilAsync(() => fanOut.State == LiveState.Lost, Stop);
        for (var i = 0; i < 10; i++)
        {
            Append(fanOut, "orders.eu", i, [1]);
        }

        Assert.Equal((3, 7L), (fanOut.QueuedBatches, fanOut.DroppedBatches));
        await _server.StartAsync(Stop);
        await Poll.UntilAsync(() => fanOut.State == LiveState.Connected && fanOut.QueuedBatches == 0, Stop);
        await Poll.UntilAsync(() => fanOut.PublishedBatches == 3, Stop);
        await fanOut.StopAsync(Stop);
        Assert.Equal(1, _log.CountOf(5002));
        Assert.Equal(1, _log.CountOf(5001));
        Assert.Equal(0, _log.CountOf(5005));
    }

    [Fact]
    public async Task Redis_that_is_killed_and_restarted_is_used_again()
    {
        await _server.StartAsync(Stop);
        var fanOut = Create();
        await fanOut.StartAsync(Stop);
        await Poll.UntilAsync(() => fanOut.State == LiveState.Connected, Stop);
        _server.Kill();
        var offset = 0L;
        await Poll.UntilAsync(
            () =>
            {
                Append(fanOut, "orders.eu", offset++, [1]);
                return fanOut.State == LiveState.Lost;
            },
            Stop);

        await _server.StartAsync(Stop);
        await Poll.UntilAsync(() => fanOut.State == LiveState.Connected, Stop);
        using var subscriber = await SubscribeAsync("broker:*");
        await Poll.UntilAsync(
            () =>
            {
                Append(fanOut, "orders.eu", offset++, [1]);
                return !subscriber.Batches.IsEmpty;
            },
            Stop);
        await fanOut.StopAsync(Stop);
        Assert.Equal(1, _log.CountOf(5002));
        Assert.Equal(2, _log.CountOf(5001));
    }

    [Fact]
    public async Task A_frozen_redis_holds_nobody_back_and_costs_no_memory()
    {
        await _server.StartAsync(Stop);
        var fanOut = Create(new LiveFanOutOptions
        {
            ConnectionString = _server.ConnectionString,
            QueueBytes = 2 * 1024 * 1024,
            SlowAfter = TimeSpan.FromMilliseconds(100),
        });
        await fanOut.StartAsync(Stop);
        await Poll.UntilAsync(() => fanOut.State == LiveState.Connected, Stop);
        _server.Freeze();
        var batch = new byte[64 * 1024];
        var start = TimeProvider.System.GetTimestamp();
        for (var i = 0; i < 1_000; i++)
        {
            Append(fanOut, "orders.eu", i, batch);
        }

        Assert.True(TimeProvider.System.GetElapsedTime(start) < TimeSpan.FromSeconds(5), "appending waited for Redis");
        await Poll.UntilAsync(() => fanOut.State == LiveState.Slow, Stop);

        // 64 MB were offered; all but the queue and one unconfirmed window were dropped.
        Assert.InRange(fanOut.PublishedBatches, 0, Limits.LiveUnconfirmedBytes / batch.Length);
        Assert.InRange(fanOut.DroppedBatches, 1_000 - 32 - 17, 1_000);
        _server.Thaw();
        await Poll.UntilAsync(() => fanOut.State == LiveState.Connected && fanOut.QueuedBatches == 0, Stop);
        await fanOut.StopAsync(Stop);
    }

    [Fact]
    public async Task A_wrong_password_is_said_once_and_nothing_escapes()
    {
        await _server.StartAsync(Stop, "--requirepass", "secret");
        var fanOut = Create();
        await fanOut.StartAsync(Stop);
        await Poll.UntilAsync(() => fanOut.State == LiveState.Lost, Stop);
        Append(fanOut, "orders.eu", 0, [1]);
        await fanOut.StopAsync(Stop);
        Assert.Equal(1, _log.CountOf(5002));
        Assert.True(fanOut.ExecuteTask is { IsCompletedSuccessfully: true });
    }

    [Fact]
    public async Task Stopping_without_redis_ends()
    {
        var fanOut = Create();
        await fanOut.StartAsync(Stop);
        await fanOut.StopAsync(Stop).WaitAsync(TimeSpan.FromSeconds(10), Stop);
        Assert.True(fanOut.ExecuteTask is null or { IsFaulted: false });
    }

    private static long Now() => TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();

    private static void Append(LiveFanOut fanOut, string topic, long offset, byte[] batch, GroupId? group = null) =>
        fanOut.OnAppended(group ?? Led, topic, offset, 2, Now(), batch);

    private LiveFanOut Create(LiveFanOutOptions? options = null)
    {
        _fanOut = new LiveFanOut(
            options ?? new LiveFanOutOptions { ConnectionString = _server.ConnectionString },
            group => group == Led,
            _log.CreateLogger<LiveFanOut>(),
            TimeProvider.System);
        _fanOut.SetSubscriptions([new LiveSubscription("s", ["orders.>"])]);
        return _fanOut;
    }

    private async Task<Subscriber> SubscribeAsync(string pattern)
    {
        var subscriber = new Subscriber(await ConnectionMultiplexer.ConnectAsync(_server.ConnectionString));
        await subscriber.ListenAsync(pattern);
        return subscriber;
    }

    private sealed class Subscriber(ConnectionMultiplexer redis) : IDisposable
    {
        public ConcurrentQueue<LiveBatch> Batches { get; } = new();

        public async Task ListenAsync(string pattern)
        {
            var messages = await redis.GetSubscriber().SubscribeAsync(
                new RedisChannel(pattern, RedisChannel.PatternMode.Pattern));
            messages.OnMessage(message => Batches.Enqueue(LiveBatch.Parser.ParseFrom((byte[])message.Message!)));
        }

        public void Dispose() => redis.Dispose();
    }
}
