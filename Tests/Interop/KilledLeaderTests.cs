using System.Diagnostics;
using Broker.Client;
using Broker.Tests.Scenarios;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>
/// Every operation on the members of a cluster, one after the other, under load on real processes, each with a leader
/// killed in the middle: it completes, or is refused clearly and completes the next time.
/// </summary>
public sealed class KilledLeaderTests
{
    private const string Topic = "operations.load";

    private static readonly int[] Five = [1, 2, 3, 4, 5];

    private readonly Stopwatch _watch = new();

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    private static ITestOutputHelper Output => TestContext.Current.TestOutputHelper!;

    [Fact]
    public async Task Every_operation_on_members_survives_that_a_leader_is_killed_in_the_middle_of_it()
    {
        await using var brokers = new Brokers(founders: 5, shards: 2)
        {
            Settings = [("Broker__SegmentBytes", "65536"), ("Broker__EvictAfter", "00:00:10")],
        };
        await brokers.FormAsync();
        await using var client = brokers.Connect(1, 2, 3, 4, 5, 6);
        await KeyedRecords.FillAsync(client);
        var cluster = (await client.DescribeClusterAsync(Test)).ClusterId;
        await using var load = new SteadyLoad(brokers.Connect(1, 2, 3, 4, 5, 6), Topic);

        // Leadership: of the shard whose leader dies, and by the word of the metadata's leader, which dies.
        await client.TransferLeadershipAsync(1, 2, Test);
        await AmidAsync(brokers, Five, "transfer", 1, () => client.TransferLeadershipAsync(1, 3, Test).AsTask());
        Assert.Equal(3, (await client.DescribeClusterAsync(Test)).Shards[1].PreferredLeader);
        await client.TransferLeadershipAsync(0, 4, Test);
        await AmidAsync(brokers, Five, "drain", 0, () => client.DrainNodeAsync(3, Test).AsTask());
        await Brokers.UntilAsync(
            async () => (await brokers.DescribeAsync(1)) is { } seen && seen.Shards.All(
                static shard => shard.Leader is not (0 or 3)),
            () => "node 3 leads nothing");
        await AmidAsync(brokers, Five, "undrain", 0, () => client.UndrainNodeAsync(3, Test).AsTask());
        Assert.All((await client.DescribeClusterAsync(Test)).Nodes, static node => Assert.False(node.Draining));

        // Votes, and with them records, move: the leader of the metadata dies when they begin to, and a shard's when
        // some segments are hollow.
        await AmidAsync(brokers, Five, "three replicas", 0, () => client.SetShardReplicasAsync(3, Test).AsTask());
        await KillALeaderAsync(brokers, Five, 1, async () => (await Task.WhenAll(Five.Select(brokers.DescribeAsync)))
            .Any(static seen => seen?.Shards.Any(static shard => shard.SegmentsElsewhere > 0) == true));
        await UntilPlacedAsync(brokers, Five);

        // A node comes, and gets a part of them; another one goes, and they leave it.
        int[] six = [1, 2, 3, 4, 5, 6];
        brokers.StartJoining(6, 1, 2, 3);
        await KillALeaderAsync(brokers, Five, 2, () => Task.FromResult(
            brokers.LinesOf(6).Any(static line => line.Contains("has taken this node in", StringComparison.Ordinal))));
        await UntilPlacedAsync(brokers, six);
        int[] rest = [2, 3, 4, 5, 6];
        await AmidAsync(
            brokers, rest, "removal", 0, () => client.RemoveNodeAsync(1, Test).AsTask(), "Node 1 (broker-1) leaves");
        await UntilPlacedAsync(brokers, rest);

        // A voter is gone for good: it is evicted, and another one takes its place.
        var seen = (await client.DescribeClusterAsync(Test)).Shards;
        var dead = seen[1].Voters.First(node => node != seen[0].Leader);
        int[] others = [.. rest.Where(node => node != dead)];
        await brokers.KillAsync(dead);
        await KillALeaderAsync(brokers, others, 0, () => Task.FromResult(others.SelectMany(brokers.LinesOf).Any(
            line => line.Contains($"Node {dead} (broker-{dead}) has been silent", StringComparison.Ordinal))));
        await Brokers.UntilAsync(
            async () => await brokers.DescribeAsync(others[0]) is { } now && now.Shards.Skip(1).All(
                shard => shard.Voters.Count == 3 && !shard.Voters.Contains(dead)),
            () => $"node {dead} is replaced:\n{string.Join('\n', others.SelectMany(brokers.LinesOf))}");
        Output.WriteLine($"eviction: done after {_watch.ElapsedMilliseconds} ms");

        // It comes back with a new disk.
        Directory.Delete(brokers.FolderOf(dead), recursive: true);
        brokers.Start(dead, ("Broker__ReplaceLostDisk", "true"));
        await KillALeaderAsync(brokers, others, 1, () => Task.FromResult(brokers.LinesOf(dead).Any(
            static line => line.Contains("as one that has lost its log and its votes", StringComparison.Ordinal))));
        await UntilPlacedAsync(brokers, rest);

        // As it was: all vote, and all keep everything.
        await AmidAsync(brokers, rest, "all replicas", 1, () => client.SetShardVotersAsync(0, Test).AsTask());
        await brokers.HaveMembersAsync(rest, rest);
        Output.WriteLine($"all vote after {_watch.ElapsedMilliseconds} ms");
        await brokers.BecomeHealthyAsync(rest);
        var count = await load.StopAsync();
        Output.WriteLine($"{count} messages, longest silence {load.LongestSilenceMs} ms");
        foreach (var node in rest)
        {
            var now = (await brokers.DescribeAsync(node))!;
            Assert.Equal(cluster, now.ClusterId);
            Assert.All(now.Shards, static shard => Assert.Equal(0, shard.SegmentsElsewhere));
            await using var one = brokers.Connect(node);
            await KeyedRecords.CheckAsync(one);
            await SteadyLoad.AssertReadableAsync(one, Topic, count, Test);
        }
    }

    /// <summary>
    /// Kills the leader of a shard when an operation is under way, and starts it again. Refused, it is asked for once
    /// more, when all are well.
    /// </summary>
    /// <param name="brokers">The cluster.</param>
    /// <param name="nodes">Who is in it afterwards.</param>
    /// <param name="what">The operation's name.</param>
    /// <param name="shard">Whose leader it is; 0: the metadata.</param>
    /// <param name="operation">Asks for it.</param>
    /// <param name="middle">What a node says when it has begun; empty: it takes moments, so the leader is killed at
    /// once.</param>
    private async Task AmidAsync(
        Brokers brokers, int[] nodes, string what, int shard, Func<Task> operation, string middle = "")
    {
        Task answer;
        if (middle.Length == 0)
        {
            var leader = await LeaderAsync(brokers, nodes, shard);
            _watch.Restart();
            answer = operation();
            await KillAsync(brokers, leader, shard);
        }
        else
        {
            answer = operation();
            await KillALeaderAsync(brokers, nodes, shard, () => Task.FromResult(nodes.SelectMany(brokers.LinesOf).Any(
                line => line.Contains(middle, StringComparison.Ordinal))));
        }

        try
        {
            await answer;
            Output.WriteLine($"{what}: done after {_watch.ElapsedMilliseconds} ms");
        }
        catch (BrokerClientException refusal)
        {
            Output.WriteLine($"{what}: {refusal.Code} after {_watch.ElapsedMilliseconds} ms: {refusal.Message}");
            Assert.True(
                refusal.Code is BrokerClientErrorCode.Unavailable or BrokerClientErrorCode.FailedPrecondition
                    or BrokerClientErrorCode.OutcomeUnknown,
                $"{refusal}");
            await brokers.BecomeHealthyAsync(nodes);
            await operation();
        }

        await brokers.BecomeHealthyAsync(nodes);
    }

    private async Task KillALeaderAsync(Brokers brokers, int[] nodes, int shard, Func<Task<bool>> middle)
    {
        _watch.Restart();
        await Brokers.UntilAsync(
            middle, () => $"it has begun:\n{string.Join('\n', nodes.SelectMany(brokers.LinesOf))}");
        await KillAsync(brokers, await LeaderAsync(brokers, nodes, shard), shard);
    }

    private async Task KillAsync(Brokers brokers, int leader, int shard)
    {
        await brokers.KillAsync(leader);
        Output.WriteLine($"node {leader}, which leads shard {shard}, is killed after {_watch.ElapsedMilliseconds} ms");
        brokers.Start(leader);
    }

    private static async Task<int> LeaderAsync(Brokers brokers, int[] nodes, int shard)
    {
        var leader = 0;
        await Brokers.UntilAsync(
            async () =>
            {
                var seen = await Task.WhenAll(nodes.Select(brokers.DescribeAsync));
                leader = seen.FirstOrDefault(static each => each is not null)?.Shards[shard].Leader ?? 0;
                return nodes.Contains(leader);
            },
            () => "somebody leads");
        return leader;
    }

    /// <summary>Three vote in each shard, and nobody else keeps what there was before.</summary>
    private async Task UntilPlacedAsync(Brokers brokers, int[] nodes)
    {
        await brokers.UntilAllVoteAsync(nodes, 3);
        await brokers.AgreeAsync(
            nodes,
            static seen => seen.Shards.Skip(1).All(
                shard => shard.Voters.Contains(seen.ThisNode) == (shard.SegmentsElsewhere == 0)),
            "that only voters keep records");
        Output.WriteLine($"placed after {_watch.ElapsedMilliseconds} ms");
        await brokers.BecomeHealthyAsync(nodes);
    }
}
