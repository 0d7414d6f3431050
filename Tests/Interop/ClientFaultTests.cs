using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using Broker.Client;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>The client library on brokers that are killed, hang and come back, as a program sees it.</summary>
public sealed class ClientFaultTests
{
    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_is_published_while_leaders_die_and_hang_is_stored_once_in_order_and_the_program_is_told()
    {
        await using var brokers = new KilledBrokers();
        await brokers.FormAsync();
        await using var client = brokers.Connect(1, 2, 3);
        var events = new ConcurrentQueue<BrokerConnectionEvent>();
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(Test);
        var watching = WatchAsync(client, events, ending.Token);
        var callers = Enumerable.Range(0, 4)
            .Select(caller => Task.Run(() => PublishAsync(client, $"load.{caller}", ending.Token), Test)).ToArray();

        await brokers.KillAsync(KilledBrokers.TopicLeader);
        await HeardAsync(events, brokers.GrpcOf(KilledBrokers.TopicLeader), BrokerConnectionState.Lost);
        brokers.Start(KilledBrokers.TopicLeader);
        await brokers.BecomesHealthyAsync(1, 2, 3);
        var leader = await LeaderAsync(client);
        brokers.Pause(leader);
        await HeardAsync(events, brokers.GrpcOf(leader), BrokerConnectionState.Lost);
        brokers.Resume(leader);
        await brokers.BecomesHealthyAsync(1, 2, 3);

        // Too large for the brokers: refused at once, and what is under way on the same connection goes on.
        var tooLarge = new BrokerMessage { Value = new byte[MessageLimits.ValueBytes + 1] };
        var refusal = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.PublishAsync("load.0", tooLarge, Test));
        Assert.Equal((BrokerClientErrorCode.InvalidArgument, false), (refusal.Code, refusal.IsTransient));
        await client.PublishAsync("large", tooLarge with { Value = new byte[MessageLimits.ValueBytes] }, Test);

        await ending.CancelAsync();
        for (var caller = 0; caller < callers.Length; caller++)
        {
            var published = await callers[caller];
            Assert.True(published > 10, $"caller {caller} published {published}");
            Assert.Equal(Enumerable.Range(0, published), await NumbersAsync(client, $"load.{caller}"));
        }

        await watching;
    }

    [Fact]
    public async Task A_client_that_ends_while_nobody_answers_ends_in_its_time_and_each_publish_says_what_came_of_it()
    {
        await using var brokers = new KilledBrokers();
        await brokers.FormAsync();
        var options = new BrokerClientOptions
        {
            Addresses = [brokers.GrpcOf(1), brokers.GrpcOf(2), brokers.GrpcOf(3)],
            DrainTimeout = TimeSpan.FromSeconds(2),
            BatchRecords = 500,
        };
        var client = new BrokerClient(options);
        await client.PublishAsync("t", Number(0), Test);

        for (var node = 1; node <= KilledBrokers.Count; node++)
        {
            brokers.Pause(node);
        }

        var publishes = Enumerable.Range(1, 2_000).Select(i => client.PublishAsync("t", Number(i), Test).AsTask())
            .ToList();
        var begun = Stopwatch.StartNew();
        await client.DisposeAsync();
        var taken = begun.Elapsed;
        for (var node = 1; node <= KilledBrokers.Count; node++)
        {
            brokers.Resume(node);
        }

        // Ten times slower machines, too; and nothing hangs.
        Assert.True(taken < TimeSpan.FromSeconds(30), $"it took {taken}");
        var (stored, unknown) = (new HashSet<int> { 0 }, new HashSet<int>());
        for (var i = 0; i < publishes.Count; i++)
        {
            Assert.True(publishes[i].IsCompleted, $"publish {i + 1} hangs");
            try
            {
                await publishes[i];
                stored.Add(i + 1);
            }
            catch (BrokerClientException failure) when (failure.Code == BrokerClientErrorCode.OutcomeUnknown)
            {
                unknown.Add(i + 1);
            }
            catch (BrokerClientException failure)
            {
                Assert.Equal(BrokerClientErrorCode.Unavailable, failure.Code);
            }
        }

        await brokers.BecomesHealthyAsync(1, 2, 3);
        await using var reader = brokers.Connect(1, 2, 3);
        await reader.PublishAsync("t", Number(-1), Test);
        var there = await NumbersAsync(reader, "t");
        Assert.Equal(there.Count, there.Distinct().Count());
        Assert.Subset(there.ToHashSet(), stored);
        Assert.Subset(new HashSet<int>([.. stored, .. unknown, -1]), there.ToHashSet());
    }

    [Fact]
    public async Task Publishes_while_the_brokers_are_away_end_by_their_deadline_in_bounded_memory_and_go_on_later()
    {
        await using var brokers = new KilledBrokers();
        await brokers.FormAsync();
        await using var client = new BrokerClient(new BrokerClientOptions
        {
            Addresses = [brokers.GrpcOf(1), brokers.GrpcOf(2), brokers.GrpcOf(3)],
            PublishTimeout = TimeSpan.FromSeconds(3),
            MaxBufferedBytes = 200_000,
            MaxWaitingPublishes = 100,
        });
        await client.PublishAsync("t", Number(0), Test);
        await brokers.KillAllAsync();

        var begun = Stopwatch.StartNew();
        var value = new byte[1_000];
        var publishes = Enumerable.Range(0, 2_000)
            .Select(_ => client.PublishAsync("away", new BrokerMessage { Value = value }, Test).AsTask()).ToList();
        var refused = publishes.Count(static publish => publish.IsFaulted);
        var outcomes = new Dictionary<BrokerClientErrorCode, int>();
        foreach (var publish in publishes)
        {
            var failure = await Assert.ThrowsAsync<BrokerClientException>(() => publish);
            outcomes[failure.Code] = outcomes.GetValueOrDefault(failure.Code) + 1;
        }

        Assert.True(begun.Elapsed < TimeSpan.FromSeconds(30), $"the last one ended after {begun.Elapsed}");

        // About 200 are held and 100 wait; all others are told at once.
        Assert.InRange(refused, 1_600, 1_750);
        Assert.Equal(refused, outcomes[BrokerClientErrorCode.ResourceExhausted]);

        // Some may have left before the connection was seen to be broken.
        Assert.Equal(
            2_000 - refused,
            outcomes[BrokerClientErrorCode.Unavailable]
            + outcomes.GetValueOrDefault(BrokerClientErrorCode.OutcomeUnknown));

        brokers.StartAll();
        await brokers.BecomesHealthyAsync(1, 2, 3);
        await Eventually.HoldsAsync(
            async () =>
            {
                try
                {
                    await client.PublishAsync("away", Number(1), Test);
                    return true;
                }
                catch (BrokerClientException failure) when (failure.IsTransient)
                {
                    return false;
                }
            },
            static () => "the client publishes again",
            60);
        Assert.Equal(1, (await NumbersAsync(client, "away"))[0]);
    }

    private static async Task WatchAsync(
        BrokerClient client, ConcurrentQueue<BrokerConnectionEvent> events, CancellationToken stop)
    {
        try
        {
            await foreach (var each in client.WatchConnectionsAsync(stop))
            {
                events.Enqueue(each);
            }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // The test has heard enough.
        }
    }

    private static Task HeardAsync(
        ConcurrentQueue<BrokerConnectionEvent> events, Uri address, BrokerConnectionState state) =>
        Eventually.HoldsAsync(
            () => Task.FromResult(events.Any(each => each.Address == address && each.State == state)),
            () => $"{address} is {state}: {string.Join("; ", events)}",
            60);

    /// <summary>One number after the other, each when the one before is stored; how many were.</summary>
    private static async Task<int> PublishAsync(BrokerClient client, string topic, CancellationToken stop)
    {
        var number = 0;
        for (; !stop.IsCancellationRequested; number++)
        {
            Assert.Equal(number, (await client.PublishAsync(topic, Number(number), Test)).Offset);
        }

        return number;
    }

    private static async Task<int> LeaderAsync(BrokerClient client)
    {
        var leader = 0;
        await Eventually.HoldsAsync(
            async () => (leader = (await client.DescribeClusterAsync(Test)).Shards.Single(
                static shard => shard.Shard == KilledBrokers.TopicGroup).Leader) != 0,
            static () => "somebody leads the topics",
            60);
        return leader;
    }

    private static async Task<List<int>> NumbersAsync(BrokerClient client, string topic)
    {
        var numbers = new List<int>();
        await foreach (var record in client.ReadAsync(topic, new ReadOptions { Linearizable = true }, Test))
        {
            numbers.Add(int.Parse(Encoding.UTF8.GetString(record.Value.Span), CultureInfo.InvariantCulture));
        }

        return numbers;
    }

    private static BrokerMessage Number(int number) => new() { Value = Encoding.UTF8.GetBytes($"{number}") };
}
