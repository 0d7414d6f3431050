using System.Diagnostics;
using Broker.Client;
using Broker.Tests.Scenarios;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>Shards whose records are on some of the data nodes only, on real processes.</summary>
public sealed class ShardReplicasTests
{
    private const string Topic = "replicas.load";

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
        await KeyedRecords.FillAsync(client);
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
            await KeyedRecords.CheckAsync(one);
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
            await KeyedRecords.CheckAsync(one);
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
            await KeyedRecords.CheckAsync(one);
            await SteadyLoad.AssertReadableAsync(one, Topic, count, Test);
        }
    }

    private static long BytesOf(Brokers brokers, int node) =>
        Directory.EnumerateFiles(brokers.FolderOf(node), "*.log", SearchOption.AllDirectories)
            .Sum(static path => new FileInfo(path) is { Exists: true } file ? file.Length : 0);
}
