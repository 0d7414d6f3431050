using Broker.Tests.Unit.GrpcCalls;
using Google.Protobuf;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Subscriber;
using Subscriber.Following;
using Subscriber.Inbox;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>
/// The inbox over a real Postgres and a real Redis: every message once and in order, whatever dies or gets lost.
/// </summary>
public sealed class InboxTests(PostgresServer postgres) : IClassFixture<PostgresServer>, IAsyncLifetime
{
    private readonly FakeLog _log = new();

    public async ValueTask InitializeAsync() => await postgres.UseNewDatabaseAsync();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact]
    public async Task Without_Redis_everything_comes_from_the_log()
    {
        _log.Append("orders", [.. Enumerable.Range(0, 5_000).Select(i => $"{i}")]);
        await using var subscriber = await SubscriberProcess.StartAsync(postgres, _log);
        await subscriber.HasAsync("orders", 5_000);
        _log.Append("orders", "5000");
        _log.Append("bills", "0");
        await subscriber.HasAsync("orders", 5_001);
        await subscriber.HasAsync("bills", 1);
        await AssertExactAsync(subscriber, "orders", 5_001);
    }

    [Fact]
    public async Task Offsets_that_are_gone_are_stepped_over_at_the_beginning_in_the_middle_and_at_the_end()
    {
        _log.Append("orders", [.. Enumerable.Range(0, 10).Select(i => $"{i}")]);
        _log.Append("all.gone", "x", "x");
        _log.Compact("0", "1", "4", "5", "6", "9", "x");
        await using var subscriber = await SubscriberProcess.StartAsync(postgres, _log);
        await subscriber.HasAsync("orders", 4);

        // Nobody asks for what is gone again and again.
        await Eventually.HoldsAsync(
            async () =>
            {
                var before = Volatile.Read(ref _log.Reads);
                await Task.Delay(1_500);
                return Volatile.Read(ref _log.Reads) == before;
            },
            () => "nothing is read that is not there");
        _log.Append("orders", "10");
        _log.Append("all.gone", "y");
        await subscriber.HasAsync("orders", 5);
        await subscriber.HasAsync("all.gone", 1);
        Assert.Equal([2L, 3, 7, 8, 10], (await subscriber.InboxAsync("orders")).Select(static row => row.Offset));
        Assert.Equal([2L], (await subscriber.InboxAsync("all.gone")).Select(static row => row.Offset));
    }

    [Fact]
    public async Task Live_batches_that_are_lost_doubled_and_out_of_order_are_stored_once_and_in_order()
    {
        await using var subscriber = await SubscriberProcess.StartAsync(postgres, _log);
        subscriber.Part<LiveHealth>().IsHealthy = true;  // So that polls are rare, and the live feed does the work.
        var receiver = subscriber.Part<LiveReceiver>();
        var random = new Random(7);
        var window = new List<Protocol.V1.LiveBatch>();
        const int Count = 3_000;
        for (var next = 0; next < Count;)
        {
            var size = Math.Min(random.Next(1, 20), Count - next);
            window.Add(_log.Append("orders", [.. Enumerable.Range(next, size).Select(i => $"{i}")]));
            next += size;
            if (window.Count < 8)
            {
                continue;
            }

            foreach (var batch in window.Where(_ => random.Next(10) > 0).OrderBy(_ => random.Next()).ToList())
            {
                receiver.Receive("broker:orders", batch.ToByteArray());
                if (random.Next(5) == 0)
                {
                    receiver.Receive("broker:orders", batch.ToByteArray());
                }
            }

            window.Clear();
            await Task.Delay(2, TestContext.Current.CancellationToken);
        }

        await subscriber.HasAsync("orders", Count);
        await AssertExactAsync(subscriber, "orders", Count);
        var metrics = subscriber.Part<SubscriberMetrics>();
        Assert.True(metrics.Live > 0 && metrics.Gaps > 0 && metrics.Duplicates > 0, "every path was taken");
    }

    [Fact]
    public async Task Every_partition_is_stored_once_and_in_order_whatever_is_lost_of_it_live()
    {
        await using var subscriber = await SubscriberProcess.StartAsync(postgres, _log);
        var receiver = subscriber.Part<LiveReceiver>();
        var random = new Random(8);
        const int Count = 300;
        for (var next = 0; next < Count; next++)
        {
            foreach (var partition in Enumerable.Range(0, 4).Where(_ => random.Next(2) == 0))
            {
                var live = _log.AppendTo("orders", partition, $"{partition}");
                if (random.Next(4) > 0)
                {
                    receiver.Receive("broker:orders", live.ToByteArray());
                }
            }
        }

        var sent = (await _log.ListTopicsAsync("orders", "", TestContext.Current.CancellationToken)).Topics;
        await subscriber.HasAsync("orders", (int)sent.Sum(topic => topic.NextOffset));
        await using var database = postgres.Connect();
        await using var command = database.CreateCommand(
            """SELECT partition, "offset", value FROM inbox WHERE topic = 'orders' ORDER BY inbox_id""");
        await using var reader = await command.ExecuteReaderAsync(TestContext.Current.CancellationToken);
        var next4 = new long[4];
        while (await reader.ReadAsync(TestContext.Current.CancellationToken))
        {
            var partition = reader.GetInt32(0);
            Assert.Equal(next4[partition]++, reader.GetInt64(1));
            Assert.Equal($"{partition}", System.Text.Encoding.UTF8.GetString(
                await reader.GetFieldValueAsync<byte[]>(2, TestContext.Current.CancellationToken)));
        }

        Assert.Equal(sent.OrderBy(topic => topic.Place.Partition).Select(topic => topic.NextOffset), next4);
        var json = await subscriber.Http.GetStringAsync(
            "/messages?topic=orders&limit=1000", TestContext.Current.CancellationToken);
        Assert.Contains("\"partition\":3", json, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_inbox_of_before_there_were_partitions_goes_on()
    {
        await using (var database = postgres.Connect())
        {
            await using var command = database.CreateCommand(
                """
                CREATE TABLE inbox (inbox_id bigserial NOT NULL, topic text NOT NULL, "offset" bigint NOT NULL,
                    timestamp_unix_ms bigint NOT NULL, key bytea, value bytea NOT NULL, headers bytea,
                    received timestamptz NOT NULL DEFAULT now(), source smallint NOT NULL,
                    PRIMARY KEY (topic, "offset"));
                CREATE TABLE positions (topic text PRIMARY KEY, next_offset bigint NOT NULL);
                INSERT INTO inbox (topic, "offset", timestamp_unix_ms, value, source)
                    SELECT 'orders', i, 1, convert_to(i::text, 'UTF8'), 1 FROM generate_series(0, 9) AS i;
                INSERT INTO positions VALUES ('orders', 10);
                """);
            await command.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
        }

        _log.Append("orders", [.. Enumerable.Range(0, 20).Select(i => $"{i}")]);
        _log.AppendTo("bills", 1, "x");
        await using var subscriber = await SubscriberProcess.StartAsync(postgres, _log);
        await subscriber.HasAsync("orders", 20);
        await subscriber.HasAsync("bills", 1);
        await AssertExactAsync(subscriber, "orders", 20);
    }

    [Fact]
    public async Task A_batch_that_is_announced_by_its_offsets_is_read_from_the_log()
    {
        await using var subscriber = await SubscriberProcess.StartAsync(postgres, _log);
        subscriber.Part<LiveHealth>().IsHealthy = true;
        var live = _log.Append("orders", "a", "b");
        live.Batch = ByteString.Empty;
        subscriber.Part<LiveReceiver>().Receive("broker:orders", live.ToByteArray());
        await subscriber.HasAsync("orders", 2);
        await AssertExactAsync(subscriber, "orders", 2, ["a", "b"]);
    }

    [Fact]
    public async Task Postgres_killed_and_restarted_loses_and_doubles_nothing()
    {
        await using var subscriber = await SubscriberProcess.StartAsync(postgres, _log);
        var receiver = subscriber.Part<LiveReceiver>();
        const int Count = 6_000;
        using var feeding = new CancellationTokenSource();
        var feed = Task.Run(async () =>
        {
            for (var i = 0; i < Count; i++)
            {
                var live = _log.Append("orders", $"{i}");
                receiver.Receive("broker:orders", live.ToByteArray());
                if (i % 10 == 0)
                {
                    await Task.Delay(1);
                }
            }
        }, TestContext.Current.CancellationToken);
        for (var round = 1; round <= 2; round++)
        {
            await subscriber.HasAsync("orders", 500 * round);
            await postgres.KillAsync();
            await postgres.StartAsync();
        }

        await feed;
        await subscriber.HasAsync("orders", Count);
        await AssertExactAsync(subscriber, "orders", Count);
    }

    [Fact]
    public async Task The_next_process_goes_on_where_the_inbox_ends()
    {
        _log.Append("orders", "0", "1");
        await using (var first = await SubscriberProcess.StartAsync(postgres, _log))
        {
            await first.HasAsync("orders", 2);
        }

        _log.Append("orders", "2");
        await using var second = await SubscriberProcess.StartAsync(postgres, _log);
        await second.HasAsync("orders", 3);
        await AssertExactAsync(second, "orders", 3);
        Assert.Equal(1, second.Part<SubscriberMetrics>().Log);
    }

    [Fact]
    public async Task Two_instances_over_one_inbox_store_every_message_once()
    {
        await using var first = await SubscriberProcess.StartAsync(postgres, _log);
        await using var second = await SubscriberProcess.StartAsync(postgres, _log);
        for (var i = 0; i < 500; i++)
        {
            var live = _log.Append("orders", $"{i}").ToByteArray();
            first.Part<LiveReceiver>().Receive("broker:orders", live);
            second.Part<LiveReceiver>().Receive("broker:orders", live);
        }

        await first.HasAsync("orders", 500);
        await AssertExactAsync(first, "orders", 500);
    }

    [Fact]
    public async Task Brokers_that_were_away_are_caught_up_with()
    {
        _log.Append("orders", "0");
        _log.Down = true;
        await using var subscriber = await SubscriberProcess.StartAsync(postgres, _log);
        _log.Append("orders", "1");
        _log.Down = false;
        await subscriber.HasAsync("orders", 2);
        await Eventually.HoldsAsync(() => _log.Registered is [">"], "the live subscription is registered");
    }

    [Fact]
    public async Task Subjects_come_and_go_and_survive_a_restart()
    {
        _log.Append("bills.eu", "0");
        await using (var first = await SubscriberProcess.StartAsync(postgres, _log, null, "orders"))
        {
            var subjects = first.Part<SubjectList>();
            await subjects.AddAsync("bills.*", CancellationToken.None);
            await first.HasAsync("bills.eu", 1);
            var refusal = await Assert.ThrowsAsync<SubscriberException>(
                () => subjects.RemoveAsync("orders", CancellationToken.None));
            Assert.Equal(SubscriberFailure.Configured, refusal.Failure);
            await Assert.ThrowsAsync<SubscriberException>(() => subjects.AddAsync("bills..eu", CancellationToken.None));
        }

        await using var second = await SubscriberProcess.StartAsync(postgres, _log, null, "orders");
        Assert.Equal(["bills.*", "orders"], second.Part<SubjectList>().Filters);
        await second.Part<SubjectList>().RemoveAsync("bills.*", CancellationToken.None);
        Assert.Equal(["orders"], second.Part<SubjectList>().Filters);
    }

    [Fact]
    public async Task Redis_killed_and_restarted_costs_no_message_and_the_live_feed_comes_back()
    {
        await using var redis = new RedisServer();
        await redis.StartAsync();
        await using var subscriber = await SubscriberProcess.StartAsync(
            postgres, _log, redis.ConnectionString, "orders", "bills.>");
        var health = subscriber.Part<LiveHealth>();
        var metrics = subscriber.Part<SubscriberMetrics>();
        await Eventually.HoldsAsync(() => health.IsHealthy, "the live feed works");
        await PublishUntilLiveAsync(redis, "orders", metrics);
        await PublishUntilLiveAsync(redis, "bills.eu", metrics);
        Assert.Equal(HealthStatus.Healthy, await subscriber.HealthAsync());

        await redis.KillAsync();
        await Eventually.HoldsAsync(() => !health.IsHealthy, "the loss of Redis is noticed");
        Assert.Equal(HealthStatus.Degraded, await subscriber.HealthAsync());
        var lost = _log.Append("orders", "x").BaseOffset;
        await subscriber.HasAsync("orders", (int)lost + 1);

        await redis.StartAsync();
        await Eventually.HoldsAsync(() => health.IsHealthy, "the live feed is back", 30);
        var last = await PublishUntilLiveAsync(redis, "orders", metrics);
        await PublishUntilLiveAsync(redis, "bills.eu", metrics);
        await subscriber.HasAsync("orders", last + 1);
        await AssertExactAsync(subscriber, "orders", last + 1, Enumerable.Repeat("x", last + 1));
    }

    [Fact]
    public async Task A_Redis_that_falls_silent_behind_open_connections_is_connected_to_anew()
    {
        await using var redis = new RedisServer();
        await redis.StartAsync();
        await using var proxy = new CuttableProxy(redis.Port);
        await using var subscriber = await SubscriberProcess.StartAsync(
            postgres, _log, $"127.0.0.1:{proxy.Port}", "orders");
        var health = subscriber.Part<LiveHealth>();
        await Eventually.HoldsAsync(() => health.IsHealthy, "the live feed works");

        proxy.Silence();
        await Eventually.HoldsAsync(() => !health.IsHealthy, "the silence is noticed");
        Assert.Equal(HealthStatus.Degraded, await subscriber.HealthAsync());
        await Eventually.HoldsAsync(() => health.IsHealthy, "the live feed is back", 30);
        await PublishUntilLiveAsync(redis, "orders", subscriber.Part<SubscriberMetrics>());
    }

    [Fact]
    public async Task A_Redis_that_is_away_from_the_start_degrades_the_subscriber_and_no_more()
    {
        await using var redis = new RedisServer();
        await using var subscriber = await SubscriberProcess.StartAsync(
            postgres, _log, redis.ConnectionString, "orders");
        _log.Append("orders", "0");
        await subscriber.HasAsync("orders", 1);
        Assert.Equal(HealthStatus.Degraded, await subscriber.HealthAsync());

        await redis.StartAsync();
        await Eventually.HoldsAsync(() => subscriber.Part<LiveHealth>().IsHealthy, "the live feed works", 30);
        Assert.Equal(HealthStatus.Healthy, await subscriber.HealthAsync());
    }

    [Fact]
    public async Task Readers_get_what_matches_their_filter_from_where_they_were_and_then_what_arrives()
    {
        await using var subscriber = await SubscriberProcess.StartAsync(postgres, _log);
        _log.Append("orders.eu.created", "0", "1");
        _log.Append("orders.eu", "x");
        await subscriber.HasAsync("orders.eu.created", 2);
        await subscriber.HasAsync("orders.eu", 1);
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        var reader = subscriber.Part<InboxReader>();
        var seen = new List<InboxMessage>();
        await foreach (var message in reader.ReadAsync("orders.*.created", 0, true, 3, patience.Token))
        {
            seen.Add(message);
            if (seen.Count == 2)
            {
                _log.Append("orders.us.created", "2");
            }
        }

        Assert.Equal(
            ["orders.eu.created", "orders.eu.created", "orders.us.created"], seen.Select(message => message.Topic));
        var rest = await reader
            .ReadAsync("orders.eu.created", seen[0].InboxId, false, 0, patience.Token)
            .ToListAsync(patience.Token);
        Assert.Equal([seen[1].InboxId], rest.Select(message => message.InboxId));
        var refusal = await Assert.ThrowsAsync<SubscriberException>(
            async () => await reader.ReadAsync("a..b", 0, false, 0, patience.Token).ToListAsync(patience.Token));
        Assert.Equal(SubscriberFailure.Invalid, refusal.Failure);
    }

    // A poll may be faster than Redis now and then; that the live feed works is seen when it wins once.
    private async Task<int> PublishUntilLiveAsync(RedisServer redis, string topic, SubscriberMetrics metrics)
    {
        var (before, last) = (metrics.Live, 0);
        await Eventually.HoldsAsync(
            async () =>
            {
                var batch = _log.Append(topic, "x");
                last = (int)batch.BaseOffset;
                await redis.PublishAsync(batch);
                return metrics.Live > before;
            },
            () => $"a message of {topic} comes live");
        return last;
    }

    private static Task AssertExactAsync(SubscriberProcess subscriber, string topic, int count) =>
        AssertExactAsync(subscriber, topic, count, Enumerable.Range(0, count).Select(i => $"{i}"));

    private static async Task AssertExactAsync(
        SubscriberProcess subscriber, string topic, int count, IEnumerable<string> values)
    {
        var rows = await subscriber.InboxAsync(topic);
        Assert.Equal(Enumerable.Range(0, count).Select(i => (long)i), rows.Select(row => row.Offset));
        Assert.Equal(values, rows.Select(row => row.Value));
    }
}
