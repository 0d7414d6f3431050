using System.Diagnostics;
using Broker.Client;
using Broker.Tests.Scenarios;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>Nodes that fall silent are evicted and come back by themselves, and nodes drain before a stop.</summary>
public sealed class EvictionTests
{
    private const string Topic = "eviction.load";

    private static readonly (string, string)[] EvictsAfterSixSeconds = [("Broker__EvictAfter", "00:00:06")];

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    private static ITestOutputHelper Output => TestContext.Current.TestOutputHelper!;

    [Fact]
    public async Task Silent_node_is_evicted_and_rejoins_with_what_it_has_be_it_killed_or_stopped_or_its_disk_lost()
    {
        await using var brokers = new Brokers(founders: 4, shards: 2) { Settings = EvictsAfterSixSeconds };
        await brokers.FormAsync();
        await using var load = new SteadyLoad(brokers.Connect(1, 2, 3), Topic);
        await brokers.HaveMembersAsync([1, 2, 3, 4], [1, 2, 3, 4]);

        // Killed: the other three form a smaller cluster, which can lose one more.
        var watch = Stopwatch.StartNew();
        await brokers.KillAsync(4);
        await BecomesAsync(brokers, 4, NodeStatus.Evicted, 1, 2, 3);
        Output.WriteLine($"evicted after {watch.ElapsedMilliseconds} ms");
        Assert.InRange(watch.ElapsedMilliseconds, 6_000, 60_000);
        Assert.Contains(
            new[] { 1, 2, 3 }.SelectMany(brokers.LinesOf),
            static line => line.Contains("Node 4 (broker-4) has been silent for longer", StringComparison.Ordinal));
        var acknowledged = load.Acknowledged;
        await brokers.KillAsync(3);
        await Brokers.UntilAsync(
            () => Task.FromResult(load.Acknowledged > acknowledged + 10), () => "two of four go on alone");
        brokers.Start(3);
        await brokers.BecomeHealthyAsync(3);
        watch.Restart();
        brokers.Start(4);
        await brokers.HaveMembersAsync([1, 2, 3, 4], [1, 2, 3, 4]);
        Output.WriteLine($"rejoined after {watch.ElapsedMilliseconds} ms");
        await brokers.BecomeHealthyAsync(4);

        // Stopped: its connections stay open, and it knows nothing of it when it wakes.
        await brokers.PauseAsync(2);
        await BecomesAsync(brokers, 2, NodeStatus.Evicted, 1, 3, 4);
        await brokers.ResumeAsync(2);
        await brokers.HaveMembersAsync([1, 2, 3, 4], [1, 2, 3, 4]);
        await brokers.BecomeHealthyAsync(2);

        // Its disk is lost while it is away: the operator's word brings it back, under its number.
        await brokers.KillAsync(4);
        await BecomesAsync(brokers, 4, NodeStatus.Evicted, 1, 2, 3);
        Directory.Delete(brokers.FolderOf(4), recursive: true);
        brokers.Start(4, ("Broker__ReplaceLostDisk", "true"));
        await brokers.HaveMembersAsync([1, 2, 3, 4], [1, 2, 3, 4]);
        await brokers.BecomeHealthyAsync(4);

        // An operator gives one up that was evicted.
        await brokers.KillAsync(4);
        await BecomesAsync(brokers, 4, NodeStatus.Evicted, 1, 2, 3);
        await using var admin = brokers.Connect(1, 2, 3);
        await admin.RemoveNodeAsync(4, Test);
        await brokers.HaveMembersAsync([1, 2, 3], [1, 2, 3]);

        // Three are too few for that: nothing would be won.
        await brokers.KillAsync(3);
        var count = await load.StopAsync();
        await Task.Delay(TimeSpan.FromSeconds(12), Test);
        var seen = (await brokers.DescribeAsync(1))!;
        Assert.Equal(NodeStatus.Member, seen.Nodes.Single(static node => node.NodeId == 3).State);
        Assert.All(seen.Shards, static shard => Assert.Equal([1, 2, 3], shard.Voters));
        brokers.Start(3);
        await brokers.BecomeHealthyAsync(1, 2, 3);
        Output.WriteLine($"{count} messages, longest silence {load.LongestSilenceMs} ms");
        foreach (var node in new[] { 1, 2, 3 })
        {
            await using var reader = brokers.Connect(node);
            await SteadyLoad.AssertReadableAsync(reader, Topic, count, Test);
        }
    }

    [Fact]
    public async Task Node_that_drains_leads_nothing_under_load_and_after_a_restart_until_it_is_told_otherwise()
    {
        await using var brokers = new Brokers(founders: 3, shards: 2) { Settings = EvictsAfterSixSeconds };
        await brokers.FormAsync();
        await brokers.HaveMembersAsync([1, 2, 3], [1, 2, 3]);
        await using var client = brokers.Connect(1, 2, 3);
        await using var load = new SteadyLoad(brokers.Connect(1, 2, 3), Topic);
        for (var shard = 0; shard <= 2; shard++)
        {
            Assert.Equal(2, await client.TransferLeadershipAsync(shard, 2, Test));
        }

        var watch = Stopwatch.StartNew();
        Assert.Empty(await client.DrainNodeAsync(2, Test));
        Output.WriteLine($"drained after {watch.ElapsedMilliseconds} ms, silence {load.LongestSilenceMs} ms");
        await LeadsNothingAsync(brokers, 2, 1, 3);
        Assert.Empty(await client.DrainNodeAsync(2, Test));

        // Also after a restart, and for longer than a silent node is waited for; and it is not given the lead when
        // another leader dies.
        await brokers.KillAsync(2);
        await Task.Delay(TimeSpan.FromSeconds(8), Test);
        brokers.Start(2);
        await brokers.BecomeHealthyAsync(2);
        await LeadsNothingAsync(brokers, 2, 1, 2, 3);
        await brokers.KillAsync(1);
        await using var living = brokers.Connect(2, 3);
        var seen = load.Acknowledged;
        await Brokers.UntilAsync(() => Task.FromResult(load.Acknowledged > seen + 10), () => "the load goes on");
        await LeadsNothingAsync(brokers, 2, 2, 3);
        var stays = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await living.DrainNodeAsync(9, Test));
        Assert.Equal(BrokerClientErrorCode.NotFound, stays.Code);
        brokers.Start(1);
        await brokers.BecomeHealthyAsync(1);
        Assert.Empty(await client.DrainNodeAsync(1, Test));
        var last = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.DrainNodeAsync(3, Test));
        Assert.Equal(BrokerClientErrorCode.FailedPrecondition, last.Code);
        Assert.Contains("no other member could lead", last.Message, StringComparison.Ordinal);

        // It gets back what its operator had given it.
        await client.UndrainNodeAsync(2, Test);
        await client.UndrainNodeAsync(2, Test);
        await client.UndrainNodeAsync(1, Test);
        await Brokers.UntilAsync(
            async () => (await brokers.DescribeAsync(3))?.Shards.All(static shard => shard.Leader == 2) == true,
            () => "node 2 leads again");
        var count = await load.StopAsync();
        Output.WriteLine($"{count} messages, longest silence {load.LongestSilenceMs} ms");
        Assert.InRange(load.LongestSilenceMs, 0, 5_000);
        await SteadyLoad.AssertReadableAsync(client, Topic, count, Test);
    }

    private static Task BecomesAsync(Brokers brokers, int node, NodeStatus state, params int[] others) =>
        brokers.AgreeAsync(
            others,
            seen => seen.Nodes.Single(each => each.NodeId == node).State == state
                && seen.Shards.All(shard => shard.Voters.SequenceEqual(others)
                    && shard.Learners.SequenceEqual(shard.Shard == 0 ? [node] : [])),
            $"that node {node} is {state}");

    private static Task LeadsNothingAsync(Brokers brokers, int node, params int[] witnesses) => brokers.AgreeAsync(
        witnesses,
        seen => seen.Nodes.Single(each => each.NodeId == node).Draining
            && seen.Shards.All(shard => shard.Leader != node && shard.Leader != 0 && shard.PreferredLeader != node),
        $"that node {node} drains and leads nothing");
}
