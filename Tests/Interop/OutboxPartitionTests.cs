using System.Collections.Concurrent;
using System.Globalization;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Broker.Client;
using Broker.Client.Publishing;
using Broker.Tests.Unit.GrpcCalls;
using Dapper;
using Publisher;
using Publisher.Outbox;
using Publisher.Sending;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>
/// The outbox and topics of several partitions: each key's messages reach its partition once and in their order,
/// whatever dies.
/// </summary>
public sealed class OutboxPartitionTests(PostgresServer postgres) : IClassFixture<PostgresServer>, IAsyncLifetime
{
    private const int Partitions = 4;

    private static readonly string[] Keys = ["a", "b", "c", "d", "e", "f", "g", "h", ""];

    private static readonly CancellationToken Test = TestContext.Current.CancellationToken;

    private readonly FakeBrokers _brokers = new();

    public async ValueTask InitializeAsync() => await postgres.UseNewDatabaseAsync();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact]
    public async Task Each_message_is_answered_with_the_partition_of_its_key_and_its_offset_there()
    {
        _brokers.Make("orders", Partitions);
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        var answers = await Task.WhenAll(Enumerable.Range(0, 2_000).Select(
            i => publisher.PublishAsync("orders", Keys[i % Keys.Length], $"{i}", committed: true)));
        for (var i = 0; i < answers.Length; i++)
        {
            var (answer, key) = (answers[i], Keys[i % Keys.Length]);
            Assert.True(answer.Committed);
            Assert.Equal($"{i}", _brokers.Values("orders", answer.Partition)[(int)answer.Offset]);
            Assert.True(key.Length == 0 || answer.Partition == PartitionOf(key));
        }

        AssertInOrder("orders", 0, 2_000);
        await Eventually.HoldsAsync(
            async () => await publisher.CountAsync("state = 1 AND partition >= 0") == 2_000, () => "all are marked");
        var http = await publisher.Http.GetFromJsonAsync<JsonElement>($"/outbox/{answers[1].OutboxId}", Test);
        Assert.Equal(
            (PartitionOf("b"), answers[1].Offset),
            (http.GetProperty("partition").GetInt32(), http.GetProperty("offset").GetInt64()));
    }

    [Fact]
    public async Task What_waits_while_the_brokers_are_away_is_divided_when_they_return()
    {
        _brokers.Make("orders", Partitions);
        _brokers.Down = true;
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        await PublishManyAsync(publisher, 0, 300);
        _brokers.Down = false;
        await AllCommittedAsync(publisher, 300);
        AssertInOrder("orders", 0, 300);
    }

    [Fact]
    public async Task The_next_process_sends_what_a_dead_one_divided_under_the_same_stamps()
    {
        _brokers.Make("orders", Partitions);
        await using (var first = await PublisherProcess.StartAsync(postgres, _brokers))
        {
            // Some are divided and stored by the brokers, and the answers are lost; others are divided and not sent.
            _brokers.LoseAnswers = true;
            await PublishManyAsync(first, 0, 100);
            await Eventually.HoldsAsync(() => _brokers.Sends("orders") > 8, "sent");
            _brokers.Down = true;
            await PublishManyAsync(first, 100, 200);
            Assert.Equal(0, await first.CountAsync("state = 1"));
        }

        (_brokers.Down, _brokers.LoseAnswers) = (false, false);
        await using var second = await PublisherProcess.StartAsync(postgres, _brokers);
        await AllCommittedAsync(second, 200);
        AssertInOrder("orders", 0, 200);
    }

    [Fact]
    public async Task A_topic_of_which_nobody_knew_that_it_has_partitions_is_divided_when_the_brokers_say_so()
    {
        _brokers.Make("orders", Partitions);
        _brokers.Believed["orders"] = 0; // Made by the first publish, by a template.
        _brokers.Make("bills", Partitions);
        _brokers.Believed["bills"] = 1; // It had one when it was asked for.
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        var key = Array.FindIndex(Keys, key => PartitionOf(key) > 0);
        await PublishManyAsync(publisher, 0, 200);
        await publisher.PublishAsync("bills", Keys[key], $"{key}", committed: false);
        await PublishManyAsync(publisher, key + 1, 200, "bills");
        await AllCommittedAsync(publisher, 400 - key);
        AssertInOrder("orders", 0, 200);
        AssertInOrder("bills", key, 200);
    }

    [Fact]
    public async Task What_was_divided_for_a_topic_that_is_made_again_with_fewer_partitions_is_divided_anew()
    {
        _brokers.Make("orders", Partitions);
        var hold = new TaskCompletionSource();
        _brokers.Hold = hold.Task;
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        await PublishManyAsync(publisher, 0, 200);
        await Eventually.HoldsAsync(() => _brokers.Sends("orders") > 0, "the first parts are under way");
        _brokers.Make("orders", 2);
        hold.SetResult();
        await AllCommittedAsync(publisher, 200);
        var values = Enumerable.Range(0, 2).SelectMany(partition => _brokers.Values("orders", partition)).ToList();
        Assert.Equal(200, values.Distinct().Count());
        Assert.Equal(200, values.Count);
        Assert.Equal(0, await publisher.CountAsync("state = 2"));
    }

    [Fact]
    public async Task A_refused_message_holds_up_its_partition_alone()
    {
        _brokers.Make("orders", Partitions);
        _brokers.Poison = "bad";
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        await PublishManyAsync(publisher, 0, 50);
        await AllCommittedAsync(publisher, 50);
        var refusal = await Assert.ThrowsAsync<PublishException>(
            () => publisher.PublishAsync("orders", "a", "bad", committed: true));
        Assert.Equal(PublishFailure.Invalid, refusal.Failure);
        await PublishManyAsync(publisher, 50, 150);
        await AllCommittedAsync(publisher, 150);
        AssertInOrder("orders", 0, 150);
        Assert.Equal(1, await publisher.CountAsync("state = 2"));
    }

    [Fact]
    public async Task Postgres_killed_while_messages_are_divided_loses_and_doubles_nothing()
    {
        _brokers.Make("orders", Partitions);
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers);
        using var stop = new CancellationTokenSource();
        var acked = new ConcurrentDictionary<string, PublishAnswer>();
        var workers = Enumerable.Range(0, 16).Select(
            worker => PublishUntilAsync(publisher, worker, acked, stop.Token)).ToArray();
        for (var round = 0; round < 3; round++)
        {
            var before = acked.Count;
            await Eventually.HoldsAsync(() => acked.Count > before + 200, "200 more acknowledged", 60);
            await postgres.KillAsync();
            await postgres.StartAsync();
        }

        var last = acked.Count;
        await Eventually.HoldsAsync(() => acked.Count > last + 200, "200 more after the last restart", 60);
        await stop.CancelAsync();
        await Task.WhenAll(workers);
        await Eventually.HoldsAsync(
            async () => await publisher.CountAsync("state = 0") == 0, () => "nothing is left pending", 60);
        var all = Enumerable.Range(0, Partitions)
            .SelectMany(partition => _brokers.Values("orders", partition))
            .ToList();
        Assert.Equal(all.Count, all.Distinct().Count());
        Assert.Equal(await publisher.CountAsync("state = 1"), all.Count);
        Assert.All(acked, ack => Assert.Contains(ack.Key, all));
        Assert.All(
            acked.Where(ack => ack.Value.Offset >= 0),
            ack => Assert.Equal(ack.Key, _brokers.Values("orders", ack.Value.Partition)[(int)ack.Value.Offset]));
    }

    [Fact]
    public async Task An_insert_whose_answer_is_lost_is_not_stored_again_when_a_relay_has_found_its_rows()
    {
        _brokers.Make("orders", Partitions);
        await using var proxy = new CuttableProxy(postgres.Port);
        await using var publisher = await PublisherProcess.StartAsync(postgres, _brokers, postgresPort: proxy.Port);
        await using var relay = await PublisherProcess.StartAsync(postgres, _brokers);
        await publisher.PublishAsync("orders", "a", "before", committed: true);

        // The insert waits for this lock. It commits when its connection passes nothing on any more, and the
        // heartbeat's neither, so the relay takes its producer for dead.
        await using var database = postgres.Connect();
        await using var connection = await database.OpenConnectionAsync(Test);
        await using var transaction = await connection.BeginTransactionAsync(Test);
        await connection.ExecuteAsync("LOCK TABLE outbox IN SHARE MODE", transaction: transaction);
        var publish = publisher.PublishAsync("orders", "a", "x", committed: false);
        await Eventually.HoldsAsync(
            async () => await relay.CountAsync(
                "EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'outbox'::regclass)") > 0,
            () => "the insert waits");
        proxy.Silence();
        await transaction.CommitAsync(Test);
        await Eventually.HoldsAsync(
            () => _brokers.Values("orders", PartitionOf("a")).Contains("x"), "the relay has sent it");
        proxy.Cut();
        var refusal = await Assert.ThrowsAsync<PublishException>(() => publish);
        Assert.Equal(PublishFailure.OutcomeUnknown, refusal.Failure);
        await publisher.PublishAsync("orders", "a", "after", committed: true);
        Assert.Equal(["before", "x", "after"], _brokers.Values("orders", PartitionOf("a")));
        await Eventually.HoldsAsync(async () => await relay.CountAsync("state = 1") == 3, () => "all are committed");
    }

    [Fact]
    public async Task Real_brokers_get_each_message_once_in_the_order_of_its_key_though_one_of_them_stops()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        await client.CreateTopicAsync("orders", new TopicSettings { Partitions = Partitions }, Test);
        await using var publisher = await PublisherProcess.StartAsync(postgres, new BrokerPublisher(client, client));
        var first = await publisher.PublishAsync("orders", "a", "0", committed: true);
        Assert.Equal((PartitionOf("a"), 0L), (first.Partition, first.Offset));
        for (var i = 1; i < 400; i++)
        {
            if (i == 200)
            {
                await brokers.StopAsync(1);
            }

            await publisher.PublishAsync("orders", Keys[i % Keys.Length], $"{i}", committed: false);
        }

        await Eventually.HoldsAsync(
            async () => await publisher.CountAsync("state = 1") == 400, () => "all are committed", 60);
        var found = new List<(string Key, int Value)>();
        for (var partition = 0; partition < Partitions; partition++)
        {
            await foreach (var record in client.ReadAsync(
                "orders", new ReadOptions { Partition = partition, Linearizable = true }, Test))
            {
                var key = Encoding.UTF8.GetString(record.Key.Span);
                Assert.True(key.Length == 0 || PartitionOf(key) == partition);
                found.Add((key, int.Parse(Encoding.UTF8.GetString(record.Value.Span), CultureInfo.InvariantCulture)));
            }
        }

        Assert.Equal(Enumerable.Range(0, 400), found.Select(each => each.Value).Order());
        Assert.All(
            found.GroupBy(each => each.Key).Where(group => group.Key.Length > 0),
            group => Assert.Equal(group.Select(each => each.Value).Order(), group.Select(each => each.Value)));
    }

    private static int PartitionOf(string key) => KeyPartition.Of(Encoding.UTF8.GetBytes(key), Partitions);

    private static async Task PublishManyAsync(
        PublisherProcess publisher, int from, int to, string topic = "orders")
    {
        for (var i = from; i < to; i++)
        {
            await publisher.PublishAsync(topic, Keys[i % Keys.Length], $"{i}", committed: false);
        }
    }

    private static Task AllCommittedAsync(PublisherProcess publisher, int count) => Eventually.HoldsAsync(
        async () => await publisher.CountAsync("state = 1") == count, () => $"all {count} are committed");

    private static async Task PublishUntilAsync(
        PublisherProcess publisher,
        int worker,
        ConcurrentDictionary<string, PublishAnswer> acked,
        CancellationToken stop)
    {
        for (var i = 0; !stop.IsCancellationRequested; i++)
        {
            try
            {
                var value = $"{worker}-{i}";
                acked[value] = await publisher.PublishAsync("orders", Keys[i % Keys.Length], value, committed: true);
            }
            catch (PublishException e) when (
                e.Failure is PublishFailure.Unavailable or PublishFailure.OutcomeUnknown)
            {
                // Allowed: the caller hears that Postgres is away.
            }
        }
    }

    /// <summary>All numbers are there once, those of each key in its partition and in their order.</summary>
    private void AssertInOrder(string topic, int from, int to)
    {
        var all = Enumerable.Range(0, Partitions).SelectMany(partition => _brokers.Values(topic, partition));
        Assert.Equal(
            Enumerable.Range(from, to - from),
            all.Select(static value => int.Parse(value, CultureInfo.InvariantCulture)).Order());
        foreach (var key in Keys.Where(key => key.Length > 0))
        {
            var expected = Enumerable.Range(from, to - from)
                .Where(i => Keys[i % Keys.Length] == key)
                .Select(i => $"{i}");
            Assert.Equal(expected, _brokers.Values(topic, PartitionOf(key), key));
        }
    }
}
