using System.Collections.Concurrent;
using System.Text;
using Broker.Client;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>Groups that keep the order of keys, that one consumer has, that are fair, or go by priority.</summary>
public sealed class ConsumerGroupOrderTests
{
    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Each_key_stays_in_order_while_members_come_and_go()
    {
        const int Keys = 200;
        const int Each = 40;
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();
        await client.CreateGroupAsync(
            "keys",
            new GroupSettings
            {
                Filters = ["orders.*"],
                Mode = GroupMode.KeyOrdered,
                AckWait = TimeSpan.FromSeconds(1),
            },
            cancellationToken: Test);

        // How many of each key somebody has begun to ack, and which are acked.
        var begun = new ConcurrentDictionary<string, int>();
        var acked = new ConcurrentDictionary<(string Key, int Number), byte>();
        var wrong = new ConcurrentQueue<string>();
        async Task HandleAsync(GroupRecord record, Random random)
        {
            var (key, number) = (Encoding.UTF8.GetString(record.Record.Key.Span), int.Parse(Text(record.Record)));
            if (begun.GetValueOrDefault(key) < number)
            {
                wrong.Enqueue($"{key} gets {number} when {begun.GetValueOrDefault(key)} were acked");
            }

            if (random.Next(20) == 0)
            {
                await record.NackAsync(TimeSpan.FromMilliseconds(random.Next(20)), Test);
                return;
            }

            begun.AddOrUpdate(key, number + 1, (_, before) => Math.Max(before, number + 1));
            if (await record.AckAsync(Test))
            {
                acked.TryAdd((key, number), 0);
            }
        }

        async Task ConsumeAsync(int seed, CancellationToken until)
        {
            var random = new Random(seed);
            await using var member = brokers.Connect();
            var options = new ConsumeOptions { Consumer = $"{seed}" };
            await using var consumer = await member.ConsumeAsync("keys", options, Test);
            try
            {
                await foreach (var record in consumer.WithCancellation(until))
                {
                    await HandleAsync(record, random);
                }
            }
            catch (OperationCanceledException) when (until.IsCancellationRequested)
            {
                // It leaves, with what it holds.
            }
        }

        using var ending = CancellationTokenSource.CreateLinkedTokenSource(Test);
        var staying = Enumerable.Range(1, 6).Select(seed => ConsumeAsync(seed, ending.Token)).ToList();
        var coming = Task.Run(
            async () =>
            {
                for (var seed = 100; !ending.IsCancellationRequested; seed++)
                {
                    using var leaving = CancellationTokenSource.CreateLinkedTokenSource(ending.Token);
                    leaving.CancelAfter(TimeSpan.FromMilliseconds(700));
                    await Task.WhenAll(ConsumeAsync(seed, leaving.Token), ConsumeAsync(-seed, leaving.Token));
                }
            },
            Test);
        for (var number = 0; number < Each; number++)
        {
            await Task.WhenAll(Enumerable.Range(0, Keys).Select(key =>
                client.PublishAsync($"orders.{key % 8}", Message($"{number}", $"k{key}"), Test).AsTask()));
        }

        await Eventually.HoldsAsync(
            () => acked.Count == Keys * Each, $"not all of {Keys * Each} records are acked", seconds: 60);
        await ending.CancelAsync();
        await Task.WhenAll(staying.Append(coming));
        Assert.Empty(wrong);
        Assert.Equal(0, (await client.DescribeGroupAsync("keys", Test)).Group.Lag);
    }

    [Fact]
    public async Task Of_an_exclusive_group_one_gets_everything_in_order_and_the_next_takes_over()
    {
        await using var brokers = await BrokerProcesses.StartAsync(3);
        await using var client = brokers.Connect();

        // A leader that takes over does not know who holds what: the brokers spread the leaders when they begin.
        await Eventually.HoldsAsync(
            async () => (await client.DescribeClusterAsync(Test)).Shards.Where(static shard => shard.Shard > 0)
                .Select(static shard => shard.Leader).Distinct().Count() == 3,
            () => "each broker leads a shard of topics",
            60);
        var options = new ConsumeOptions { Filters = ["a", "b", "c"], Mode = GroupMode.Exclusive };
        await using var first = await client.ConsumeAsync("one", options with { Consumer = "first" }, Test);
        await Eventually.HoldsAsync(
            async () => (await client.DescribeGroupAsync("one", Test)).Group.Consumers == 1,
            () => "the first one is not there");
        await using var other = brokers.Connect();
        await using var second = await other.ConsumeAsync("one", options with { Consumer = "second" }, Test);
        await PublishAsync(0, 100);
        await GetAsync(first, 0, 100);
        await ServedAsync("first", "second");

        // It leaves with nothing in its hands; what comes then is the other's, from where it was.
        await first.DisposeAsync();
        await PublishAsync(100, 50);
        await GetAsync(second, 100, 50);
        await ServedAsync("second");

        async Task ServedAsync(string served, params string[] others)
        {
            IReadOnlyList<GroupConsumerInfo> seen = [];
            await Eventually.HoldsAsync(
                async () =>
                {
                    seen = (await client.DescribeGroupAsync("one", Test)).Consumers;
                    return seen.Where(static each => each.Served).Select(static each => each.Name)
                            .SequenceEqual([served])
                        && seen.Where(static each => !each.Served).Select(static each => each.Name)
                            .SequenceEqual(others);
                },
                () => $"{served} is served: {string.Join(' ', seen)}");
        }

        async Task PublishAsync(int from, int count)
        {
            for (var number = from; number < from + count; number++)
            {
                foreach (var topic in options.Filters!)
                {
                    await client.PublishAsync(topic, Message($"{number}"), Test);
                }
            }
        }

        async Task GetAsync(GroupConsumer consumer, int from, int count)
        {
            var next = options.Filters!.ToDictionary(static topic => topic, _ => from);
            var left = count * next.Count;
            await foreach (var record in consumer.WithCancellation(Test))
            {
                // After a change of leaders what was sent before may come again; nothing comes out of its turn.
                var number = int.Parse(Text(record.Record));
                Assert.InRange(number, 0, next[record.Record.Topic]);
                await record.AckAsync(Test);
                if (number == next[record.Record.Topic])
                {
                    next[record.Record.Topic]++;
                    if (--left == 0)
                    {
                        return;
                    }
                }
            }
        }
    }

    [Fact]
    public async Task One_busy_key_does_not_keep_others_waiting_and_higher_priorities_go_first()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        await using var client = brokers.Connect();
        await Task.WhenAll(Enumerable.Range(0, 20_000).Select(i =>
            client.PublishAsync("t", Message($"{i}", i % 200 == 199 ? $"k{i}" : "busy"), Test).AsTask()));
        await client.CreateGroupAsync(
            "fair", new GroupSettings { Filters = ["t"], Order = GroupOrder.Fair }, cancellationToken: Test);
        var (others, busy) = (0, 0);
        await using (var consumer = await client.ConsumeAsync(
            "fair", new ConsumeOptions { MaxUnsettledRecords = 20 }, Test))
        {
            await foreach (var record in consumer.WithCancellation(Test))
            {
                _ = record.Record.Key.Span.SequenceEqual("busy"u8) ? busy++ : others++;
                await record.AckAsync(Test);
                if (others == 100)
                {
                    break;
                }
            }
        }

        Assert.InRange(busy, 0, 5_000);

        for (var number = 0; number < 30; number++)
        {
            await client.PublishAsync("p", Message($"{number}") with { Priority = number % 10 }, Test);
        }

        await client.CreateGroupAsync(
            "levels", new GroupSettings { Filters = ["p"], Order = GroupOrder.Priority }, cancellationToken: Test);
        var levels = new List<int>();
        await using var one = await client.ConsumeAsync("levels", new ConsumeOptions { MaxUnsettledRecords = 1 }, Test);
        await foreach (var record in one.WithCancellation(Test))
        {
            levels.Add(record.Record.Priority);
            await record.AckAsync(Test);
            if (levels.Count == 30)
            {
                break;
            }
        }

        Assert.Equal(Enumerable.Range(0, 30).Select(static number => 9 - (number / 3)), levels);
    }

    [Fact]
    public async Task What_was_given_back_goes_before_what_is_new_of_a_lower_priority_a_dead_letter_too()
    {
        await using var brokers = await BrokerProcesses.StartAsync(1);
        await using var client = brokers.Connect();
        for (var number = 0; number < 10; number++)
        {
            await client.PublishAsync("p", Message($"{number}") with { Priority = number == 6 ? 7 : 1 }, Test);
        }

        await client.CreateGroupAsync(
            "levels", new GroupSettings { Filters = ["p"], Order = GroupOrder.Priority }, cancellationToken: Test);
        await using var one = await client.ConsumeAsync("levels", new ConsumeOptions { MaxUnsettledRecords = 1 }, Test);
        var seen = new List<(string, int)>();
        await foreach (var record in one.WithCancellation(Test))
        {
            seen.Add((Text(record.Record), record.Attempt));
            if (seen.Count < 5)
            {
                await record.NackAsync(TimeSpan.Zero, Test);
            }
            else if (seen.Count == 5)
            {
                // One of the others may be under way before it is redriven.
                await record.TerminateAsync("no", Test);
                Assert.Equal(1, await client.RedriveDeadLettersAsync("levels", cancellationToken: Test));
            }
            else
            {
                await record.AckAsync(Test);
            }

            if (seen.Count == 15)
            {
                break;
            }
        }

        Assert.Equal(Enumerable.Range(1, 5).Select(static attempt => ("6", attempt)), seen.Take(5));
        Assert.Contains(("6", 1), seen.Skip(5).Take(2));
        Assert.Equal(
            Enumerable.Range(0, 10).Where(static number => number != 6).Select(static number => ($"{number}", 1)),
            seen.Skip(5).Where(static each => each.Item1 != "6"));
    }

    private static BrokerMessage Message(string value, string key = "") =>
        new() { Key = Encoding.UTF8.GetBytes(key), Value = Encoding.UTF8.GetBytes(value) };

    private static string Text(BrokerRecord record) => Encoding.UTF8.GetString(record.Value.Span);
}
