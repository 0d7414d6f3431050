using System.Diagnostics;
using Broker.Client;
using Broker.Tests.Scenarios;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>Shards whose records are on some of the data nodes only, on real processes.</summary>
public sealed class ShardReplicasTests
{
    private const string Topic = "replicas.load";
    private const string Parts = "replicas.parts";
    private const int Records = 3_000;
    private const int ValueBytes = 2_000;

    private static readonly int[] Five = [1, 2, 3, 4, 5];

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    private static ITestOutputHelper Output => TestContext.Current.TestOutputHelper!;

    [Fact]
    public async Task Five_nodes_with_three_replicas_a_shard_serve_all_records_at_each_and_keep_three_copies()
    {
        await using var brokers = new Brokers(founders: 5, shards: 2)
        {
            Settings = [("Broker__SegmentBytes", "65536"), ("Broker__EvictAfter", "00:00:06")],
        };
        await brokers.FormAsync();
        await using var client = brokers.Connect(Five);
        Assert.Contains("shard-replicas", (await client.GetServerInfoAsync(Test)).Features);
        var refusal = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.SetShardReplicasAsync(0, Test));
        Assert.Equal(BrokerClientErrorCode.InvalidArgument, refusal.Code);
        await client.CreateTopicAsync(Parts, new TopicSettings { Partitions = 3 }, cancellationToken: Test);
        await FillAsync(client);
        var all = Five.Sum(node => BytesOf(brokers, node));

        var watch = Stopwatch.StartNew();
        await using var load = new SteadyLoad(brokers.Connect(Five), Topic);
        await client.SetShardReplicasAsync(3, Test);
        await brokers.UntilAllVoteAsync(Five, 3);
        await Brokers.UntilAsync(
            () => Task.FromResult(Five.Sum(node => BytesOf(brokers, node)) < 0.75 * all),
            () => $"the disks have less than {all} bytes: {Five.Sum(node => BytesOf(brokers, node))}");
        Output.WriteLine(
            $"{all:N0} bytes on five disks became {Five.Sum(node => BytesOf(brokers, node)):N0} within "
            + $"{watch.ElapsedMilliseconds} ms");
        var described = await Task.WhenAll(Five.Select(brokers.DescribeAsync));
        Assert.All(described, static seen => Assert.True(seen!.OnlyVotersKeepRecords));
        Assert.All(Five, node => Assert.All(
            described[node - 1]!.Shards.Where(static shard => shard.Shard > 0),
            shard => Assert.Equal(shard.Learners.Contains(node), shard.SegmentsElsewhere > 0)));

        // Each node gives all records, whatever it keeps: by reads, by the last of each key, and by subscriptions.
        foreach (var node in Five)
        {
            await using var one = brokers.Connect(node);
            await CheckAsync(one);
        }

        // A voter dies for good: another node fetches what it lacks, and votes in its place.
        var victim = described[0]!.Shards[1].Voters[0];
        int[] others = [.. Five.Where(node => node != victim)];
        watch.Restart();
        await brokers.KillAsync(victim);
        await Brokers.UntilAsync(
            async () => await brokers.DescribeAsync(others[0]) is { } seen && seen.Shards.Skip(1).All(
                shard => shard.Voters.Count == 3 && !shard.Voters.Contains(victim)),
            () => $"three of {string.Join(", ", others)} vote in each shard");
        Output.WriteLine($"node {victim} is replaced after {watch.ElapsedMilliseconds} ms");
        foreach (var node in others)
        {
            var seen = (await brokers.DescribeAsync(node))!;
            Assert.All(
                seen.Shards.Where(shard => shard.Voters.Contains(node)),
                static shard => Assert.Equal(0, shard.SegmentsElsewhere));
            await using var one = brokers.Connect(node);
            await CheckAsync(one);
        }

        brokers.Start(victim);
        await brokers.BecomeHealthyAsync(Five);
        var count = await load.StopAsync();
        Output.WriteLine($"{count} messages, longest silence {load.LongestSilenceMs} ms");

        // As it was: all vote, and all keep everything.
        await client.SetShardVotersAsync(0, Test);
        await brokers.HaveMembersAsync(Five, Five);
        foreach (var node in Five)
        {
            Assert.All(
                (await brokers.DescribeAsync(node))!.Shards, static shard => Assert.Equal(0, shard.SegmentsElsewhere));
            await using var one = brokers.Connect(node);
            await CheckAsync(one);
            await SteadyLoad.AssertReadableAsync(one, Topic, count, Test);
        }
    }

    private static long BytesOf(Brokers brokers, int node) =>
        Directory.EnumerateFiles(brokers.FolderOf(node), "*.log", SearchOption.AllDirectories)
            .Sum(static path => new FileInfo(path) is { Exists: true } file ? file.Length : 0);

    private static async Task FillAsync(BrokerClient client)
    {
        var acks = new List<Task<PublishAck>>();
        for (var i = 0; i < Records; i++)
        {
            acks.Add(client.PublishAsync(Parts, MessageOf(i), Test).AsTask());
            if (acks.Count == 100)
            {
                await Task.WhenAll(acks);
                acks.Clear();
            }
        }

        await Task.WhenAll(acks);
    }

    private static BrokerMessage MessageOf(int number)
    {
        var value = new byte[ValueBytes];
        new Random(number).NextBytes(value);
        BitConverter.TryWriteBytes(value, number);
        return new BrokerMessage { Key = BitConverter.GetBytes(number % 1_000), Value = value };
    }

    private static async Task CheckAsync(BrokerClient one)
    {
        var read = new List<int>();
        var last = new List<int>();
        for (var partition = 0; partition < 3; partition++)
        {
            var options = new ReadOptions { Partition = partition };
            await foreach (var record in one.ReadAsync(Parts, options, Test))
            {
                read.Add(NumberOf(record.Value));
            }

            await foreach (var record in one.ReadAsync(Parts, options with { LastPerKey = true }, Test))
            {
                last.Add(NumberOf(record.Value));
            }
        }

        Assert.Equal(Enumerable.Range(0, Records), read.Order());
        Assert.Equal(Enumerable.Range(Records - 1_000, 1_000), last.Order());

        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(Test);
        deadline.CancelAfter(TimeSpan.FromMinutes(1));
        var subscribed = new HashSet<int>();
        await using var subscription = await one.SubscribeAsync(
            [Parts], new SubscribeOptions { FromBeginning = true }, deadline.Token);
        await foreach (var record in subscription.WithCancellation(deadline.Token))
        {
            Assert.True(subscribed.Add(NumberOf(record.Value)));
            if (subscribed.Count == Records)
            {
                break;
            }
        }
    }

    private static int NumberOf(ReadOnlyMemory<byte> value)
    {
        var number = BitConverter.ToInt32(value.Span);
        Assert.True(MessageOf(number).Value.Span.SequenceEqual(value.Span));
        return number;
    }
}
