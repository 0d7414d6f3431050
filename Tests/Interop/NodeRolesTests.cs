using Broker.Client;
using Broker.Tests.Scenarios;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>Dedicated controllers and data nodes, on real processes.</summary>
public sealed class NodeRolesTests
{
    private const string Topic = "roles.load";

    private static readonly int[] Controllers = [1, 2, 3];
    private static readonly int[] Data = [4, 5, 6];
    private static readonly int[] All = [.. Controllers, .. Data];

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    private static ITestOutputHelper Output => TestContext.Current.TestOutputHelper!;

    [Fact]
    public async Task Six_nodes_of_two_roles_serve_at_each_of_them_and_lose_nothing_when_one_of_each_is_killed()
    {
        await using var brokers = new Brokers(founders: 6, shards: 2) { Roles = RolesOfSix() };
        await brokers.FormAsync();
        await brokers.HaveRolesAsync(All, Controllers, Data);
        foreach (var node in All)
        {
            await using var one = brokers.Connect(node);
            var ack = await one.PublishAsync($"at.{node}", SteadyLoad.MessageOf(0), Test);
            Assert.Equal(0, ack.Offset);
        }

        // Whoever knows the controllers alone is served, with a data node and a controller dying under its load.
        await using var load = new SteadyLoad(brokers.Connect(Controllers), Topic);
        await Brokers.UntilAsync(() => Task.FromResult(load.Acknowledged > 20), () => "the load begins");
        var leader = (await brokers.DescribeAsync(1))!.Shards[1].Leader;
        Assert.Contains(leader, Data);
        await brokers.KillAsync(leader);
        await MoreAsync(load);
        var controller = (await brokers.DescribeAsync(2))!.Shards[0].Leader;
        Assert.Contains(controller, Controllers);
        await brokers.KillAsync(controller);
        await MoreAsync(load);
        brokers.Start(leader);
        brokers.Start(controller);
        await brokers.HaveRolesAsync(All, Controllers, Data);
        await brokers.BecomeHealthyAsync(All);
        var count = await load.StopAsync();
        Output.WriteLine($"{count} messages, longest silence {load.LongestSilenceMs} ms");
        foreach (var node in All)
        {
            await using var reader = brokers.Connect(node);
            await SteadyLoad.AssertReadableAsync(reader, Topic, count, Test);
        }

        // A controller has no shard for topics on its disk, and a data node all groups.
        Assert.Equal(["group-0000"], Groups(brokers, 1));
        Assert.Equal(["group-0000", "group-0001", "group-0002"], Groups(brokers, 4));
    }

    [Fact]
    public async Task Everything_about_topics_works_for_a_client_that_knows_one_controller()
    {
        await using var brokers = new Brokers(founders: 2, shards: 2)
        {
            Roles = new Dictionary<int, string> { [1] = "controller", [2] = "data" },
        };
        await brokers.FormAsync();
        await brokers.HaveRolesAsync([1, 2], [1], [2]);
        await using var client = brokers.Connect(1);
        Assert.Contains("node-roles", (await client.GetServerInfoAsync(Test)).Features);

        // Topics with settings and partitions, groups with their consumers, a subscription, several batches at once.
        await client.CreateTopicAsync("wide", new TopicSettings { Partitions = 3 }, Test);
        Assert.Equal(3, (await client.DescribeTopicAsync("wide", Test)).Topic.Partitions.Count);
        await using var consumer = await client.ConsumeAsync("work", new ConsumeOptions { Filters = ["jobs"] }, Test);
        for (var number = 0; number < 10; number++)
        {
            Assert.Equal(number, (await client.PublishAsync("jobs", SteadyLoad.MessageOf(number), Test)).Offset);
        }

        var seen = 0;
        await foreach (var record in consumer.WithCancellation(Test))
        {
            Assert.Equal(seen, BitConverter.ToInt32(record.Record.Value.Span));
            Assert.True(await record.AckAsync(Test));
            if (++seen == 10)
            {
                break;
            }
        }

        Assert.Equal(0L, (await client.DescribeGroupAsync("work", Test)).Group.Lag);
        await SteadyLoad.AssertReadableAsync(client, "jobs", 10, Test);
        var missing = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.DescribeTopicAsync("missing", Test));
        Assert.Equal(BrokerClientErrorCode.NotFound, missing.Code);

        // A shard of topics is led where it can be led; a controller knows who that is.
        var refused = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.TransferLeadershipAsync(1, 1, Test));
        Assert.Contains("Node 1 is no voter of shard 1", refused.Message, StringComparison.Ordinal);
        Assert.Equal(2, await client.TransferLeadershipAsync(1, 2, Test));

        // Without a data node it says so, and whom to ask.
        await brokers.KillAsync(2);
        await using var hasty = new BrokerClient(new BrokerClientOptions
        {
            Addresses = [brokers.GrpcOf(1)],
            PublishTimeout = TimeSpan.FromSeconds(3),
            OperationTimeout = TimeSpan.FromSeconds(3),
        });
        var alone = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await hasty.DescribeTopicAsync("jobs", Test));
        Assert.Equal(BrokerClientErrorCode.Unavailable, alone.Code);
        Assert.Contains("'broker-1' is a controller and holds no topics", alone.Message, StringComparison.Ordinal);
        Assert.Contains(
            $"broker-2 at {brokers.GrpcOf(2).ToString().TrimEnd('/')}", alone.Message, StringComparison.Ordinal);
        brokers.Start(2);
        await SteadyLoad.AssertReadableAsync(client, "jobs", 10, Test);
    }

    [Fact]
    public async Task Nodes_join_with_their_roles_keep_them_and_the_last_of_each_stays()
    {
        await using var brokers = new Brokers(founders: 1)
        {
            Roles = new Dictionary<int, string> { [2] = "data", [3] = "controller", [4] = "data" },
        };
        await brokers.FormAsync();
        await using var client = brokers.Connect(1);
        await client.PublishAsync(Topic, SteadyLoad.MessageOf(0), Test);
        brokers.StartJoining(2, 1);
        await brokers.HaveRolesAsync([1, 2], [1], [1, 2], learners: [2]);
        brokers.Start(3, ("Broker__Join", "invitation"));
        await brokers.SaysAsync(3, "waits for an invitation");
        Assert.Equal(3, await client.AddNodeAsync("broker-3", brokers.PeerOf(3), Test));
        await brokers.HaveRolesAsync([1, 2, 3], [1, 3], [1, 2], learners: [2]);

        // The first one goes: what is left are a controller and a data node, and none of them may go.
        await using var later = brokers.Connect(2, 3);
        await later.RemoveNodeAsync(1, Test);
        await brokers.HaveRolesAsync([2, 3], [3], [2]);
        Assert.Contains("is the last controller", await RefusalAsync(later, 3), StringComparison.Ordinal);
        Assert.Contains("is the last data node", await RefusalAsync(later, 2), StringComparison.Ordinal);

        // A controller decides when a data node has come and has left, though it has no replica of its shards.
        brokers.StartJoining(4, 3);
        await brokers.HaveRolesAsync([2, 3, 4], [3], [2, 4]);
        await later.RemoveNodeAsync(2, Test);
        await brokers.HaveRolesAsync([3, 4], [3], [4]);
        await using var last = brokers.Connect(3);
        await SteadyLoad.AssertReadableAsync(last, Topic, 1, Test);

        // A disk keeps its roles.
        await brokers.KillAsync(4);
        brokers.Start(4, ("Broker__Roles", "controller"));
        await brokers.SaysAsync(4, "is one of a node with the roles 'data', but Broker:Roles is 'controller'");
        await brokers.KillAsync(4);
        brokers.Start(4);
        await brokers.HaveRolesAsync([3, 4], [3], [4]);
    }

    [Fact]
    public async Task Wrong_roles_are_refused_with_what_was_expected()
    {
        await using var brokers = new Brokers(founders: 1);
        brokers.Start(1, ("Broker__Roles", "leader"));
        await brokers.SaysAsync(1, "Broker:Roles is 'leader'. It must be 'controller'");
        await brokers.KillAsync(1);
        brokers.Start(1, ("Broker__Roles", "data"));
        await brokers.SaysAsync(1, "No cluster forms: all its 1 nodes are 'data' nodes, and it needs one controller");
        await Brokers.UntilAsync(
            async () => await brokers.HealthAsync(1) == "Unhealthy", () => "it is not healthy, and says so");
    }

    private static Dictionary<int, string> RolesOfSix() => All.ToDictionary(
        static node => node, static node => Controllers.Contains(node) ? "controller" : "data");

    private static async Task MoreAsync(SteadyLoad load)
    {
        var before = load.Acknowledged;
        await Brokers.UntilAsync(() => Task.FromResult(load.Acknowledged > before + 20), () => "the load goes on");
    }

    private static IEnumerable<string> Groups(Brokers brokers, int node) =>
        Directory.GetDirectories(brokers.FolderOf(node), "group-*")
            .Select(static path => Path.GetFileName(path)).Order(StringComparer.Ordinal);

    private static async Task<string> RefusalAsync(BrokerClient client, int node)
    {
        var refusal = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.RemoveNodeAsync(node, Test));
        Assert.Equal(BrokerClientErrorCode.FailedPrecondition, refusal.Code);
        return refusal.Message;
    }
}
