using System.Diagnostics;
using Broker.Client;
using Broker.Tests.Scenarios;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>Shards in which some of the data nodes vote, on real processes.</summary>
public sealed class ShardVotersTests
{
    private const string Topic = "voters.load";

    private static readonly int[] Five = [1, 2, 3, 4, 5];

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    private static ITestOutputHelper Output => TestContext.Current.TestOutputHelper!;

    [Fact]
    public async Task Five_nodes_with_three_voters_a_shard_serve_at_each_and_lose_nothing_when_two_are_killed()
    {
        await using var brokers = new Brokers(founders: 5, shards: 5);
        await brokers.FormAsync();
        await using var client = brokers.Connect(Five);
        Assert.Contains("shard-voters", (await client.GetServerInfoAsync(Test)).Features);
        var refusal = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.SetShardVotersAsync(2, Test));
        Assert.Equal(BrokerClientErrorCode.InvalidArgument, refusal.Code);
        await using var load = new SteadyLoad(brokers.Connect(Five), Topic);
        var watch = Stopwatch.StartNew();
        await client.SetShardVotersAsync(3, Test);
        await brokers.UntilAllVoteAsync(Five, 3);
        Output.WriteLine($"five shards have three voters each after {watch.ElapsedMilliseconds} ms");

        // Every node serves every topic, in whatever shard it is, and led by whomever.
        foreach (var node in Five)
        {
            await using var one = brokers.Connect(node);
            foreach (var at in Five)
            {
                var ack = await one.PublishAsync($"at.{at}", SteadyLoad.MessageOf(node - 1), Test);
                Assert.Equal(node - 1, ack.Offset);
            }
        }

        foreach (var node in Five)
        {
            await using var one = brokers.Connect(node);
            foreach (var at in Five)
            {
                await SteadyLoad.AssertReadableAsync(one, $"at.{at}", 5, Test);
            }
        }

        // A shard that lost two of its three voters waits; one that lost fewer goes on.
        var before = (await brokers.DescribeAsync(1))!;
        var shards = (await client.ListTopicsAsync(cancellationToken: Test)).ToDictionary(
            static topic => topic.Name, static topic => topic.Shard);
        await brokers.KillAsync(4);
        await brokers.KillAsync(5);
        var living = before.Shards.Where(static shard => shard.Voters.Count(static voter => voter <= 3) >= 2).ToList();
        Assert.InRange(living.Count, 1, 5);
        Assert.True(living.Count <= before.Shards.Count - 1, "some shard has lost its majority");
        await Brokers.UntilAsync(
            async () => await brokers.DescribeAsync(1) is { } seen && living.All(
                shard => seen.Shards.Single(each => each.Shard == shard.Shard).Leader is 1 or 2 or 3),
            () => "the shards with two voters left have a leader");
        await using var hasty = new BrokerClient(new BrokerClientOptions
        {
            Addresses = [brokers.GrpcOf(1)],
            PublishTimeout = TimeSpan.FromSeconds(20),
        });
        var publishes = Five.Select(at => (Topic: $"at.{at}", Sent: hasty.PublishAsync(
            $"at.{at}", SteadyLoad.MessageOf(5), Test).AsTask())).ToList();
        foreach (var (topic, publish) in publishes)
        {
            if (living.Exists(shard => shard.Shard == shards[topic]))
            {
                Assert.Equal(5, (await publish).Offset);
            }
            else
            {
                await Assert.ThrowsAsync<BrokerClientException>(() => publish);
            }
        }

        brokers.Start(4);
        brokers.Start(5);
        await brokers.BecomeHealthyAsync(Five);
        var count = await load.StopAsync();
        Output.WriteLine($"{count} messages, longest silence {load.LongestSilenceMs} ms");
        foreach (var node in Five)
        {
            await using var reader = brokers.Connect(node);
            await SteadyLoad.AssertReadableAsync(reader, Topic, count, Test);
        }

        // As it was: all vote.
        await client.SetShardVotersAsync(0, Test);
        await brokers.HaveMembersAsync(Five, Five);
    }

    [Fact]
    public async Task Votes_move_to_nodes_that_come_and_away_from_nodes_that_go_while_leaders_die_under_load()
    {
        await using var brokers = new Brokers(founders: 3, shards: 4);
        await brokers.FormAsync();
        await using var client = brokers.Connect(Five);
        await using var load = new SteadyLoad(brokers.Connect(Five), Topic);
        await client.SetShardVotersAsync(3, Test);
        await brokers.UntilAllVoteAsync([1, 2, 3], 3);

        var watch = Stopwatch.StartNew();
        brokers.StartJoining(4, 1, 2, 3);
        await brokers.SaysAsync(4, "has taken this node in as node 4");
        var victim = (await brokers.DescribeAsync(2))!.Shards[0].Leader;
        await brokers.KillAsync(victim);
        brokers.Start(victim);
        await brokers.UntilAllVoteAsync([1, 2, 3, 4], 3);
        Output.WriteLine($"node 4 has its votes after {watch.ElapsedMilliseconds} ms, with a leader killed meanwhile");

        watch.Restart();
        brokers.StartJoining(5, 4);
        await brokers.UntilAllVoteAsync(Five, 3);
        Output.WriteLine($"node 5 has its votes after {watch.ElapsedMilliseconds} ms");

        // One is removed that votes, with the leader of a shard killed in the middle; then another one.
        watch.Restart();
        var removal = client.RemoveNodeAsync(1, Test).AsTask();
        await brokers.SaysOfAnyAsync([1, 2, 3, 4, 5], "Node 1 (broker-1) leaves the cluster");
        var leader = (await brokers.DescribeAsync(4))!.Shards.Select(static shard => shard.Leader)
            .First(static each => each is 2 or 3 or 4 or 5);
        await brokers.KillAsync(leader);
        brokers.Start(leader);
        await removal;
        await brokers.UntilAllVoteAsync([2, 3, 4, 5], 3);
        Output.WriteLine($"node 1 is removed after {watch.ElapsedMilliseconds} ms, with node {leader} killed in it");
        watch.Restart();
        await client.RemoveNodeAsync(2, Test);
        await client.RemoveNodeAsync(3, Test);
        Output.WriteLine($"nodes 2 and 3 are removed after {watch.ElapsedMilliseconds} ms");

        // Two are left: both vote everywhere, and nothing is lost.
        await brokers.UntilAllVoteAsync([4, 5], 2);
        var count = await load.StopAsync();
        Output.WriteLine($"{count} messages, longest silence {load.LongestSilenceMs} ms");
        foreach (var node in new[] { 4, 5 })
        {
            await using var reader = brokers.Connect(node);
            await SteadyLoad.AssertReadableAsync(reader, Topic, count, Test);
        }
    }

    [Fact]
    public async Task Dead_voter_is_evicted_and_replaced_although_a_shard_has_three()
    {
        await using var brokers = new Brokers(founders: 4, shards: 2)
        {
            Settings = [("Broker__EvictAfter", "00:00:06")],
        };
        await brokers.FormAsync();
        await using var client = brokers.Connect(1, 2, 3, 4);
        await client.SetShardVotersAsync(3, Test);
        await brokers.UntilAllVoteAsync([1, 2, 3, 4], 3);
        await using var load = new SteadyLoad(brokers.Connect(1, 2, 3, 4), Topic);
        var dead = (await brokers.DescribeAsync(1))!.Shards[1].Voters[^1];
        int[] others = [.. new[] { 1, 2, 3, 4 }.Where(node => node != dead)];
        await brokers.KillAsync(dead);
        await Brokers.UntilAsync(
            async () => await brokers.DescribeAsync(others[0]) is { } seen
                && seen.Nodes.Single(node => node.NodeId == dead).State == NodeStatus.Evicted
                && seen.Shards.Skip(1).All(shard => shard.Voters.SequenceEqual(others)),
            () => $"node {dead} is evicted, and {string.Join(", ", others)} vote:\n"
                + string.Join('\n', others.SelectMany(brokers.LinesOf)));

        // It comes back, and gets a part of the votes again.
        brokers.Start(dead);
        await brokers.UntilAllVoteAsync([1, 2, 3, 4], 3);
        var count = await load.StopAsync();
        Output.WriteLine($"{count} messages, longest silence {load.LongestSilenceMs} ms");
        await using var reader = brokers.Connect(dead);
        await SteadyLoad.AssertReadableAsync(reader, Topic, count, Test);
    }
}
