using System.Diagnostics;
using Broker.Client;
using Broker.Tests.Scenarios;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>Nodes come and go by request, under load, on real processes.</summary>
public sealed class MembershipTests
{
    private const string Topic = "members.load";

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    private static ITestOutputHelper Output => TestContext.Current.TestOutputHelper!;

    [Fact]
    public async Task Leadership_moves_by_request_under_load_and_stays_where_it_was_put()
    {
        await using var brokers = new Brokers(founders: 3);
        await brokers.FormAsync();
        await using var client = brokers.Connect(1, 2, 3);
        await using var load = new SteadyLoad(brokers.Connect(1, 2, 3), Topic);
        foreach (var node in new[] { 3, 1, 2, 1 })
        {
            Assert.Equal(node, await client.TransferLeadershipAsync(1, node, Test));
            Assert.Equal(node, await client.TransferLeadershipAsync(1, node, Test));
            Assert.Equal(node, Shard(await client.DescribeClusterAsync(Test)).PreferredLeader);
        }

        // The balance of leaders looks after ten quiet seconds; without the operator's word it wants node 2.
        await Task.Delay(TimeSpan.FromSeconds(15), Test);
        Assert.Equal(1, Shard(await client.DescribeClusterAsync(Test)).Leader);
        Assert.InRange(await client.TransferLeadershipAsync(1, cancellationToken: Test), 2, 3);

        await RefusedAsync(
            BrokerClientErrorCode.NotFound, async () => await client.TransferLeadershipAsync(9, 1, Test));
        await RefusedAsync(
            BrokerClientErrorCode.FailedPrecondition, async () => await client.TransferLeadershipAsync(1, 7, Test));
        var dead = Shard(await client.DescribeClusterAsync(Test)).Leader == 3 ? 2 : 3;
        await brokers.KillAsync(dead);
        await RefusedAsync(
            BrokerClientErrorCode.FailedPrecondition, async () => await client.TransferLeadershipAsync(1, dead, Test));
        var count = await load.StopAsync();
        Output.WriteLine($"{count} messages, longest silence {load.LongestSilenceMs} ms");
        await SteadyLoad.AssertReadableAsync(client, Topic, count, Test);
    }

    [Fact]
    public async Task Cluster_grows_from_three_to_five_while_leaders_die_and_loses_its_first_three_under_load()
    {
        await using var brokers = new Brokers(founders: 3, shards: 2);
        await brokers.FormAsync();
        await using var load = new SteadyLoad(brokers.Connect(1, 2, 3, 4, 5), Topic);
        var watch = Stopwatch.StartNew();
        brokers.StartJoining(4, 1, 2, 3);
        await brokers.SaysAsync(4, "has taken this node in as node 4");

        // In the middle of it the leader of the metadata dies.
        var victim = (await brokers.DescribeAsync(2))!.Shards[0].Leader;
        await brokers.KillAsync(victim);
        brokers.Start(victim);
        await brokers.HaveMembersAsync([1, 2, 3, 4], [1, 2, 3, 4]);
        Output.WriteLine($"node 4 is a member after {watch.ElapsedMilliseconds} ms, with a leader killed meanwhile");

        watch.Restart();
        brokers.StartJoining(5, 4);
        await brokers.HaveMembersAsync([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]);
        Output.WriteLine($"node 5 is a member after {watch.ElapsedMilliseconds} ms");

        await using var client = brokers.Connect(4, 5);
        foreach (var node in new[] { 1, 2, 3 })
        {
            watch.Restart();
            await client.RemoveNodeAsync(node, Test);
            Output.WriteLine($"node {node} is removed after {watch.ElapsedMilliseconds} ms");
            await brokers.SaysAsync(node, "serves nothing any more");
            await client.RemoveNodeAsync(node, Test);
        }

        await brokers.HaveMembersAsync([4, 5], [4, 5]);
        var count = await load.StopAsync();
        Output.WriteLine($"{count} messages, longest silence {load.LongestSilenceMs} ms");
        foreach (var node in new[] { 4, 5 })
        {
            await using var reader = brokers.Connect(node);
            await SteadyLoad.AssertReadableAsync(reader, Topic, count, Test);
        }

        // A removed disk is refused for ever, also after a new start; the node says so and is not healthy.
        await brokers.KillAsync(1);
        brokers.Start(1);
        await brokers.SaysAsync(1, "was removed from its cluster");
        Assert.Equal("Unhealthy", await brokers.HealthAsync(1));
        await using (var removed = brokers.Connect(1))
        {
            // Every call, so that a client that has other addresses tries those: UNIMPLEMENTED would end it.
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(Test);
            patience.CancelAfter(TimeSpan.FromSeconds(2));
            var failure = await Assert.ThrowsAnyAsync<Exception>(
                async () => await removed.RemoveNodeAsync(3, patience.Token));
            Assert.True(
                failure is OperationCanceledException
                    or BrokerClientException { Code: BrokerClientErrorCode.Unavailable },
                $"{failure}");
        }

        // With an empty folder it comes back as another one.
        await brokers.KillAsync(1);
        Directory.Delete(brokers.FolderOf(1), recursive: true);
        brokers.StartJoining(1, 4, 5);
        await brokers.HaveMembersAsync([1, 4, 5], [4, 5, 6]);

        // All at once, at other addresses but for one: they find each other.
        foreach (var node in new[] { 1, 4, 5 })
        {
            await brokers.KillAsync(node);
        }

        brokers.Move(1);
        brokers.Move(5);
        brokers.StartJoining(1, 4);
        brokers.StartJoining(4, 4);
        brokers.StartJoining(5, 4);
        await brokers.HaveMembersAsync([1, 4, 5], [4, 5, 6]);
        await brokers.BecomeHealthyAsync(1, 4, 5);
        await using var last = brokers.Connect(1);
        await SteadyLoad.AssertReadableAsync(last, Topic, count, Test);
        Assert.Equal(count, (await last.PublishAsync(Topic, SteadyLoad.MessageOf(count), Test)).Offset);
    }

    [Fact]
    public async Task A_node_that_joins_is_sent_what_there_is_at_the_rate_that_is_set()
    {
        const int Messages = 40;
        await using var brokers = new Brokers(founders: 1)
        {
            Settings = [("Broker__TransferBytesPerSecond", "8388608")],
        };
        await brokers.FormAsync();
        await using (var publisher = brokers.Connect(1))
        {
            for (var i = 0; i < Messages; i++)
            {
                var value = new byte[1_000_000];
                BitConverter.TryWriteBytes(value, i);
                await publisher.PublishAsync(Topic, new BrokerMessage { Value = value }, Test);
            }
        }

        // What is new is in memory, and counts for nothing: after a start there is only the disk.
        await brokers.KillAsync(1);
        brokers.Start(1);
        await brokers.BecomeHealthyAsync(1);
        brokers.StartJoining(2, 1);
        await brokers.SaysAsync(2, "has taken this node in as node 2");
        var watch = Stopwatch.StartNew();
        await brokers.HaveMembersAsync([1, 2], [1, 2]);

        // The last 4 MiB leave at once; without a rate all of it takes less than a second.
        Output.WriteLine($"40 MB took {watch.ElapsedMilliseconds} ms at 8 MiB a second");
        Assert.InRange(watch.ElapsedMilliseconds, 3_500, 60_000);
        await using var reader = brokers.Connect(2);
        await SteadyLoad.AssertReadableAsync(reader, Topic, Messages, Test);
    }

    [Fact]
    public async Task Operator_adds_and_removes_nodes_and_hears_what_cannot_be()
    {
        await using var brokers = new Brokers(founders: 3);
        await brokers.FormAsync();
        await using var client = brokers.Connect(1, 2, 3);
        brokers.Start(4, ("Broker__Join", "invitation"));
        brokers.Start(5, ("Broker__Join", "invitation"));
        await brokers.SaysAsync(4, "waits for an invitation");
        await brokers.SaysAsync(5, "waits for an invitation");
        Assert.Equal("Unhealthy", await brokers.HealthAsync(4));

        // A wrong address, another node's, a name that is taken.
        await using var hasty = new BrokerClient(new BrokerClientOptions
        {
            Addresses = [brokers.GrpcOf(1), brokers.GrpcOf(3)],
            OperationTimeout = TimeSpan.FromSeconds(5),
        });
        var nowhere = await RefusedAsync(
            BrokerClientErrorCode.Unavailable,
            async () => await hasty.AddNodeAsync("broker-4", new Uri("http://127.0.0.1:1"), Test));
        Assert.Contains("does not answer at http://127.0.0.1:1", nowhere.Message, StringComparison.Ordinal);
        var other = await RefusedAsync(
            BrokerClientErrorCode.FailedPrecondition,
            async () => await client.AddNodeAsync("broker-4", brokers.PeerOf(5), Test));
        Assert.Contains("answers as 'broker-5'", other.Message, StringComparison.Ordinal);

        // Twice at once is once; another one waits, or is told to.
        var twice = await Task.WhenAll(
            client.AddNodeAsync("broker-4", brokers.PeerOf(4), Test).AsTask(),
            client.AddNodeAsync("broker-4", brokers.PeerOf(4), Test).AsTask());
        Assert.Equal([4, 4], twice);
        await brokers.HaveMembersAsync([1, 2, 3, 4], [1, 2, 3, 4]);
        Assert.Equal(4, await client.AddNodeAsync("broker-4", brokers.PeerOf(4), Test));

        // Of an even number a dead one can go; then no majority can be spared.
        await brokers.KillAsync(2);
        await using var living = brokers.Connect(1, 3, 4);
        await living.RemoveNodeAsync(2, Test);
        await brokers.HaveMembersAsync([1, 3, 4], [1, 3, 4]);
        brokers.Start(2);
        await brokers.SaysAsync(2, "serves nothing any more");
        await brokers.KillAsync(3);
        await Task.Delay(TimeSpan.FromSeconds(1), Test);
        await using var two = brokers.Connect(1, 4);
        var needed = await RefusedAsync(
            BrokerClientErrorCode.FailedPrecondition, async () => await two.RemoveNodeAsync(4, Test));
        Assert.Contains("no majority", needed.Message, StringComparison.Ordinal);
        brokers.Start(3);
        await brokers.BecomeHealthyAsync(1, 3, 4);

        // A name that was meant for another node has done nothing with this one.
        Assert.Contains("waits for an invitation", brokers.LinesOf(5).Last(
            static line => line.Contains("broker-5", StringComparison.Ordinal)), StringComparison.Ordinal);
        var absent = await two.AddNodeAsync("broker-5", brokers.PeerOf(5), Test);
        Assert.Equal(5, absent);
        await brokers.HaveMembersAsync([1, 3, 4, 5], [1, 3, 4, 5]);
        await two.RemoveNodeAsync(absent, Test);
        await two.RemoveNodeAsync(99, Test);
        await brokers.HaveMembersAsync([1, 3, 4], [1, 3, 4]);

        // One that is needed then and is on its way back is waited for.
        await brokers.KillAsync(3);
        await Task.Delay(TimeSpan.FromSeconds(1), Test);
        await using var one = brokers.Connect(1);
        var removal = one.RemoveNodeAsync(4, Test);
        brokers.Start(3);
        await removal;
        await brokers.HaveMembersAsync([1, 3], [1, 3]);
    }

    [Fact]
    public async Task Node_that_leads_every_shard_is_removed_under_load_with_its_leaderships_moved_first()
    {
        await using var brokers = new Brokers(founders: 4, shards: 3);
        await brokers.FormAsync();
        await using var client = brokers.Connect(2, 3, 4);
        await using var load = new SteadyLoad(brokers.Connect(2, 3, 4), Topic);
        for (var shard = 0; shard <= 3; shard++)
        {
            Assert.Equal(1, await client.TransferLeadershipAsync(shard, 1, Test));
        }

        var watch = Stopwatch.StartNew();
        await client.RemoveNodeAsync(1, Test);
        Output.WriteLine($"removed after {watch.ElapsedMilliseconds} ms");
        await brokers.HaveMembersAsync([2, 3, 4], [2, 3, 4]);
        var count = await load.StopAsync();
        Output.WriteLine($"{count} messages, longest silence {load.LongestSilenceMs} ms");
        Assert.InRange(load.LongestSilenceMs, 0, 3_000);
        await SteadyLoad.AssertReadableAsync(client, Topic, count, Test);
    }

    [Fact]
    public async Task Nodes_that_see_only_themselves_form_no_cluster_and_say_whom_they_wait_for()
    {
        await using var brokers = new Brokers(founders: 0);
        for (var node = 1; node <= 3; node++)
        {
            brokers.Start(node);
            await brokers.SaysAsync(node, $"broker-{node} has an empty disk and sees only itself");
            Assert.False(Directory.Exists(brokers.FolderOf(node)));
        }
    }

    private static ShardInfo Shard(ClusterInfo cluster) => cluster.Shards.Single(static shard => shard.Shard == 1);

    private static async Task<BrokerClientException> RefusedAsync(BrokerClientErrorCode code, Func<Task> call)
    {
        var refusal = await Assert.ThrowsAsync<BrokerClientException>(call);
        Assert.Equal(code, refusal.Code);
        return refusal;
    }
}
