using System.Collections.Concurrent;
using Dapper;
using Npgsql;
using Publisher;
using Publisher.Outbox;
using Publisher.Sending;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>The outbox over a real Postgres: what is stored reaches the brokers exactly once, whatever dies.</summary>
public sealed class OutboxTests(PostgresServer postgres) : IClassFixture<PostgresServer>, IAsyncLifetime
{
    private readonly FakeBrokers _brokers = new();

    public async ValueTask InitializeAsync() => await postgres.UseNewDatabaseAsync();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact]
    public async Task A_committed_message_is_answered_with_its_row_and_offset_and_marked()
    {
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        var first = await publisher.PublishAsync("orders", "a", committed: true);
        var second = await publisher.PublishAsync("orders", "b", committed: true);
        Assert.True(first.Committed && second.Committed);
        Assert.Equal((0, 1), (first.Offset, second.Offset));
        Assert.True(second.OutboxId > first.OutboxId);
        await Eventually.HoldsAsync(
            async () => await publisher.CountAsync("state = 1 AND broker_offset = sequence") == 2,
            () => "both rows marked");
    }

    [Fact]
    public async Task Many_at_once_are_gathered_and_keep_the_order_of_each_caller()
    {
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        var answers = await Task.WhenAll(
            Enumerable.Range(0, 3_000).Select(i => publisher.PublishAsync("orders", $"{i}", true)));
        Assert.Equal(Enumerable.Range(0, 3_000).Select(i => $"{i}"), _brokers.Values("orders"));
        Assert.Equal(Enumerable.Range(0, 3_000).Select(i => (long)i), answers.Select(answer => answer.Offset));
        Assert.True(_brokers.Sends("orders") < 1_000, $"{_brokers.Sends("orders")} sends for 3,000 messages");
    }

    [Fact]
    public async Task Stored_is_answered_while_the_brokers_are_down_and_published_when_they_return()
    {
        _brokers.Down = true;
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        for (var i = 0; i < 20; i++)
        {
            var answer = await publisher.PublishAsync("orders", $"{i}", committed: false);
            Assert.False(answer.Committed);
        }

        _brokers.Down = false;
        await Eventually.HoldsAsync(() => _brokers.Values("orders").Count == 20, "20 messages published");
        Assert.Equal(Enumerable.Range(0, 20).Select(i => $"{i}"), _brokers.Values("orders"));
    }

    [Fact]
    public async Task Lost_answers_are_asked_for_again_and_the_first_offset_comes_back()
    {
        _brokers.LoseAnswers = true;
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        var publishing = publisher.PublishAsync("orders", "a", committed: true);
        await Eventually.HoldsAsync(() => _brokers.Sends("orders") >= 2, "sent again");
        _brokers.LoseAnswers = false;
        Assert.Equal(0, (await publishing).Offset);
        Assert.Equal(["a"], _brokers.Values("orders"));
    }

    [Fact]
    public async Task A_producers_first_chunk_is_acknowledged_before_the_next_is_sent()
    {
        var hold = new TaskCompletionSource();
        _brokers.Hold = hold.Task;
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        for (var i = 0; i < 5; i++)
        {
            await publisher.PublishAsync("orders", $"{i}", committed: false);
        }

        // Brokers that do not know the producer would take the second chunk first, and the first one for a duplicate.
        await Eventually.HoldsAsync(() => _brokers.Sends("orders") > 0, "the first is under way");
        _brokers.FailSends = 1;
        hold.SetResult();
        await Eventually.HoldsAsync(
            async () => await publisher.CountAsync("state = 1") == 5, () => "all are committed");
        Assert.Equal(["0", "1", "2", "3", "4"], _brokers.Values("orders"));
    }

    [Fact]
    public async Task The_next_process_relays_what_a_dead_one_left_whether_the_brokers_had_it_or_not()
    {
        await using (var first = await PublisherProcess.StartAsync(postgres, _brokers))
        {
            _brokers.LoseAnswers = true;
            await first.PublishAsync("orders", "stored and sent", committed: false);
            await Eventually.HoldsAsync(() => _brokers.Values("orders").Count == 1, "sent");
            (_brokers.Down, _brokers.LoseAnswers) = (true, false);
            for (var i = 0; i < 50; i++)
            {
                await first.PublishAsync(i % 2 == 0 ? "orders" : "bills", $"{i}", committed: false);
            }
        }

        _brokers.Down = false;
        await using var second = await PublisherProcess.StartAsync(postgres, _brokers);
        await Eventually.HoldsAsync(
            async () => await second.CountAsync("state = 1") == 51, () => "all rows committed");
        var expected = Enumerable.Range(0, 25).Select(i => $"{2 * i}").Prepend("stored and sent");
        Assert.Equal(expected, _brokers.Values("orders"));
        Assert.Equal(Enumerable.Range(0, 25).Select(i => $"{2 * i + 1}"), _brokers.Values("bills"));
        Assert.Equal(51, await second.CountAsync("broker_offset IS NOT NULL"));
    }

    [Fact]
    public async Task Postgres_killed_and_restarted_in_mid_publish_loses_and_doubles_nothing()
    {
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        using var stop = new CancellationTokenSource();
        var acked = new ConcurrentDictionary<string, long>();
        var workers = Enumerable.Range(0, 16).Select(
            worker => PublishUntilAsync(publisher, worker, acked, stop.Token)).ToArray();
        for (var round = 0; round < 3; round++)
        {
            var before = acked.Count;
            await Eventually.HoldsAsync(() => acked.Count > before + 200, "200 more acknowledged");
            await postgres.KillAsync();
            await postgres.StartAsync();
        }

        var last = acked.Count;
        await Eventually.HoldsAsync(() => acked.Count > last + 200, "200 more after the last restart");
        await stop.CancelAsync();
        await Task.WhenAll(workers);
        await Eventually.HoldsAsync(
            async () => await publisher.CountAsync("state = 0") == 0, () => "nothing is left pending");

        var values = _brokers.Values("orders");
        Assert.Equal(values.Count, values.Distinct().Count());
        Assert.All(acked, ack => Assert.Equal(ack.Key, values[(int)ack.Value]));
        await using var database = postgres.Connect();
        await using var connection = await database.OpenConnectionAsync(TestContext.Current.CancellationToken);
        var stored = await connection.QueryAsync<string>("SELECT DISTINCT convert_from(value, 'UTF8') FROM outbox");
        Assert.Equal(stored.Order(StringComparer.Ordinal), values.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task Postgres_away_for_long_is_told_to_the_caller_and_the_next_publish_works()
    {
        await using var publisher = await PublisherProcess.StartAsync(
            postgres, _brokers, options => options.StoreTimeout = TimeSpan.FromMilliseconds(300));
        await publisher.PublishAsync("orders", "a", committed: true);
        await postgres.KillAsync();
        var refusal = await Assert.ThrowsAsync<PublishException>(
            () => publisher.PublishAsync("orders", "b", committed: true));
        Assert.True(refusal.Failure is PublishFailure.Unavailable or PublishFailure.OutcomeUnknown);
        await postgres.StartAsync();
        Assert.True((await publisher.PublishAsync("orders", "c", committed: true)).Committed);
        Assert.Equal(["a", "c"], _brokers.Values("orders"));
    }

    [Fact]
    public async Task A_full_outbox_refuses()
    {
        _brokers.Down = true;
        await using var publisher = await PublisherProcess.StartAsync(
            postgres, _brokers, options => options.MaxPending = 10);

        var metrics = publisher.Part<PublisherMetrics>();
        for (var i = 1; i <= 10; i++)
        {
            await publisher.PublishAsync("orders", $"{i}", committed: false);

            // One that the database counted just before it was told may be in the figure twice until the next count.
            await Eventually.HoldsAsync(() => metrics.Pending == i, $"{i} pending");
        }

        var refusal = await Assert.ThrowsAsync<PublishException>(
            () => publisher.PublishAsync("orders", "11", committed: false));
        Assert.Equal(PublishFailure.Overloaded, refusal.Failure);
        _brokers.Down = false;
        await Eventually.HoldsAsync(() => _brokers.Values("orders").Count == 10, "drained");
        await Eventually.HoldsAsync(() => metrics.Pending == 0, "room again");
        Assert.True((await publisher.PublishAsync("orders", "again", committed: true)).Committed);
    }

    [Fact]
    public async Task A_refused_message_is_marked_and_those_after_it_go_on_under_a_new_producer()
    {
        _brokers.Poison = "bad";
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        await publisher.PublishAsync("orders", "a", committed: true);
        var refusal = await Assert.ThrowsAsync<PublishException>(
            () => publisher.PublishAsync("orders", "bad", committed: true));
        Assert.Equal(PublishFailure.Invalid, refusal.Failure);
        Assert.Equal(2, (await publisher.PublishAsync("orders", "b", committed: true)).Offset + 1);
        Assert.True((await publisher.PublishAsync("orders", "c", committed: true)).Committed);
        Assert.Equal(["a", "b", "c"], _brokers.Values("orders"));
        await Eventually.HoldsAsync(
            async () => await publisher.CountAsync("state = 0") == 0 && await publisher.CountAsync("state = 2") == 1,
            () => "one refused, none pending");
    }

    [Fact]
    public async Task Retention_deletes_old_committed_rows_only()
    {
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        await publisher.PublishAsync("orders", "old", committed: true);
        await Eventually.HoldsAsync(async () => await publisher.CountAsync("state = 1") == 1, () => "marked");
        _brokers.Down = true;
        await publisher.PublishAsync("orders", "pending", committed: false);
        await using (var connection = await publisher.Part<NpgsqlDataSource>().OpenConnectionAsync(
            TestContext.Current.CancellationToken))
        {
            await connection.ExecuteAsync(
                "UPDATE outbox SET created = now() - interval '2 days', committed = committed - interval '2 days'");
        }

        await publisher.PublishAsync("bills", "young", committed: false);
        await publisher.Part<OutboxRetention>().RunOnceAsync(TestContext.Current.CancellationToken);
        Assert.Equal(0, await publisher.CountAsync("state = 1"));
        Assert.Equal(2, await publisher.CountAsync("state = 0"));
    }

    [Fact]
    public async Task Chunks_beyond_the_memory_bound_are_read_back_from_Postgres()
    {
        _brokers.Down = true;
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        var text = new string('x', 900_000);
        const int Count = 90;
        for (var i = 0; i < Count; i++)
        {
            await publisher.PublishAsync("large", $"{i}:{text}", committed: false);
        }

        Assert.True(publisher.Part<LaneSender>().HeldBytes <= PublisherLimits.SendingBytes);
        _brokers.Down = false;
        await Eventually.HoldsAsync(() => _brokers.Values("large").Count == Count, "all large messages published", 60);
        Assert.Equal(Enumerable.Range(0, Count).Select(i => $"{i}:{text}"), _brokers.Values("large"));
        await Eventually.HoldsAsync(() => publisher.Part<LaneSender>().HeldBytes == 0, "memory is given back");
    }

    // A publisher that started asked for the table's strongest lock, waited for the relay's transaction, and the relay
    // waited behind it: a restart with messages of before stood still until a command timed out.
    [Fact]
    public async Task A_publisher_starts_beside_a_transaction_that_has_read_the_outbox()
    {
        await using (await PublisherProcess.StartAsync(postgres, _brokers))
        {
            // The tables are there.
        }

        await using var database = postgres.Connect();
        await using var connection = await database.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(TestContext.Current.CancellationToken);
        await connection.ExecuteScalarAsync<long>("SELECT count(*) FROM outbox", transaction: transaction);
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        var answer = await publisher.PublishAsync("orders", "a", committed: true)
            .WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        Assert.True(answer.Committed);
    }

    [Fact]
    public async Task An_older_outbox_is_brought_up_to_date_and_nobody_waits_long_behind_that()
    {
        await using (await PublisherProcess.StartAsync(postgres, _brokers))
        {
            // The tables are there.
        }

        await using var database = postgres.Connect();
        await using var reader = await database.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await reader.ExecuteAsync(
            "ALTER TABLE outbox DROP COLUMN idempotency_key, DROP COLUMN fingerprint, DROP COLUMN partition");
        await using var transaction = await reader.BeginTransactionAsync(TestContext.Current.CancellationToken);
        await reader.ExecuteScalarAsync<long>("SELECT count(*) FROM outbox", transaction: transaction);
        var starting = PublisherProcess.StartAsync(postgres, _brokers);
        await Eventually.HoldsAsync(
            async () => await reader.ExecuteScalarAsync<bool>(
                "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE relation = 'outbox'::regclass AND NOT granted)",
                transaction: transaction),
            () => "the new columns are waited for");
        await using var other = await database.OpenConnectionAsync(TestContext.Current.CancellationToken);
        Assert.Equal(0, await other.ExecuteScalarAsync<long>("SELECT count(*) FROM outbox", commandTimeout: 6));
        await transaction.CommitAsync(TestContext.Current.CancellationToken);
        await using var publisher = await starting;
        Assert.True((await publisher.PublishAsync("orders", "a", committed: true)).Committed);
        await Eventually.HoldsAsync(
            async () => await publisher.CountAsync("partition = 0 AND idempotency_key IS NULL") == 1, () => "marked");
    }

    private static async Task PublishUntilAsync(
        PublisherProcess publisher,
        int worker,
        ConcurrentDictionary<string, long> acked,
        CancellationToken stop)
    {
        for (var i = 0; !stop.IsCancellationRequested; i++)
        {
            try
            {
                var value = $"{worker}-{i}";
                acked[value] = (await publisher.PublishAsync("orders", value, committed: true)).Offset;
            }
            catch (PublishException e) when (
                e.Failure is PublishFailure.Unavailable or PublishFailure.OutcomeUnknown)
            {
                // Allowed: the caller hears that Postgres is away.
            }
        }
    }
}
