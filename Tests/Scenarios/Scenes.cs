using System.Diagnostics;
using Broker.Client;

namespace Broker.Tests.Scenarios;

/// <summary>The scenarios, by name: each is a test, and something to watch.</summary>
internal static class Scenes
{
    private const string Topic = "topic1";

    public static IReadOnlyDictionary<string, (string Title, Func<Stage, Task> Play)> All { get; } =
        new Dictionary<string, (string, Func<Stage, Task>)>
        {
            ["basic-single-node"] = ("one broker, one subscriber, one message", BasicSingleNodeAsync),
            ["leader-election"] = ("who leads, when both begin at once and when they do not", LeaderElectionAsync),
            ["fault-tolerance"] = ("the leader fails, then the next one", FaultToleranceAsync),
            ["one-publisher-one-subscriber"] = ("across nodes, with an unsubscription", OneSubscriberAsync),
            ["one-publisher-two-subscribers"] = ("two subscribers at two nodes", TwoSubscribersAsync),
            ["dynamic-membership"] = ("a node joins, serves, and leaves", DynamicMembershipAsync),
            ["rejoin"] = ("a node is away, a removed one comes back", RejoinAsync),
            ["absent-subscriber"] = ("what is published meanwhile waits in the log", AbsentSubscriberAsync),
            ["sharding"] = ("topics spread over shards, and leaders over nodes", ShardingAsync),
            ["grow-and-shrink"] = ("votes move: from three nodes to five, to the last two", GrowAndShrinkAsync),
            ["dedicated-controllers"] = ("three nodes keep the metadata, three the topics", ControllersAsync),
        };

    private static async Task BasicSingleNodeAsync(Stage stage)
    {
        await stage.FormAsync(1);
        stage.Expect(await stage.LeaderAsync(1, 1) == 1, "the only node leads");
        stage.Title("Subscribe");
        var subscriber = stage.Enter("Subscriber", 1);
        await subscriber.SubscribeAsync(Topic);
        stage.Title("Publish");
        await stage.Enter("Publisher", 1).PublishAsync(Topic, "Hello, world!");
        await subscriber.HearsAsync("Hello, world!");
    }

    private static async Task LeaderElectionAsync(Stage stage)
    {
        stage.Title("Same Beginning: both start at once, and one is meant to be first");
        stage.Use(2);
        await stage.Brokers.FormAsync();
        var first = await stage.LeaderAsync(1, 1, 2);
        var before = await stage.Brokers.DescribeAsync(first);
        var seen = await stage.Brokers.DescribeAsync(3 - first);
        stage.Expect(
            seen!.Shards[1].Leader == first && seen.Shards[1].Term == before!.Shards[1].Term,
            $"one of the two leads, and both say who: broker-{first}");

        stage.Title("Different Election Timeouts: each draws its own, and the first one to ask wins");
        await stage.KillAsync(1);
        await stage.KillAsync(2);
        stage.Brokers.Start(1);
        stage.Brokers.Start(2);
        await stage.Brokers.BecomeHealthyAsync(1, 2);
        var second = await stage.LeaderAsync(1, 1, 2);
        var after = await stage.Brokers.DescribeAsync(second);
        stage.Expect(after!.Shards[1].Term > before!.Shards[1].Term, $"a later term has one leader: broker-{second}");
    }

    private static async Task FaultToleranceAsync(Stage stage)
    {
        await stage.FormAsync(3);
        var first = await stage.LeaderAsync(1, 1, 2, 3);
        var others = Others(first);
        stage.Title("Leader Fail");
        await stage.KillAsync(first);
        var second = await stage.LeaderAsync(1, others);
        stage.Expect(second != first, $"broker-{second} leads now");
        await stage.Enter("Publisher", others[0]).PublishAsync(Topic, "After the first");

        stage.Title("Another Leader Fail: without a majority nothing is promised");
        await stage.KillAsync(second);
        var last = others.Single(node => node != second);
        await using (var hasty = new BrokerClient(new BrokerClientOptions
        {
            Addresses = [stage.Brokers.GrpcOf(last)],
            PublishTimeout = TimeSpan.FromSeconds(3),
        }))
        {
            var refused = false;
            try
            {
                await hasty.PublishAsync(Topic, new BrokerMessage { Value = new byte[] { 1 } });
            }
            catch (BrokerClientException refusal)
            {
                refused = refusal.Code is BrokerClientErrorCode.Unavailable or BrokerClientErrorCode.OutcomeUnknown;
                stage.Say("Publisher", $"Refused: {refusal.Message}");
            }

            stage.Expect(refused, $"broker-{last} alone acknowledges nothing");
        }

        stage.Title("One Comes Back");
        stage.Brokers.Start(first);
        await stage.LeaderAsync(1, first, last);
        await stage.Enter("Publisher", last).PublishAsync(Topic, "After the second");
    }

    private static async Task OneSubscriberAsync(Stage stage)
    {
        await stage.FormAsync(2);
        stage.Title("Subscribe to Node 1");
        var subscriber = stage.Enter("Subscriber", 1);
        await subscriber.SubscribeAsync(Topic);
        stage.Title("Publish to Node 2");
        var publisher = stage.Enter("Publisher", 2);
        await publisher.PublishAsync(Topic, "Hello, world!");
        await subscriber.HearsAsync("Hello, world!");
        stage.Title("Unsubscribe");
        await subscriber.UnsubscribeAsync();
        stage.Title("Publish Later");
        await publisher.PublishAsync(Topic, "Hello, later");
        await Task.Delay(TimeSpan.FromMilliseconds(500));
        await subscriber.HearsAsync("Hello, world!");
    }

    private static async Task TwoSubscribersAsync(Stage stage)
    {
        await stage.FormAsync(2);
        stage.Title("Subscribe to Node 1 and to Node 2");
        var one = stage.Enter("Subscriber 1", 1);
        var two = stage.Enter("Subscriber 2", 2);
        await one.SubscribeAsync(Topic);
        await two.SubscribeAsync(Topic);
        stage.Title("Publish to Node 2");
        var publisher = stage.Enter("Publisher", 2);
        await publisher.PublishAsync(Topic, "Hello, world!");
        await one.HearsAsync("Hello, world!");
        await two.HearsAsync("Hello, world!");
        stage.Title("Unsubscribe at Node 1 and Publish Later");
        await one.UnsubscribeAsync();
        await publisher.PublishAsync(Topic, "Hello, later");
        await two.HearsAsync("Hello, world!", "Hello, later");
        await one.HearsAsync("Hello, world!");
    }

    private static async Task DynamicMembershipAsync(Stage stage)
    {
        await stage.FormAsync(2);
        stage.Title("Subscribe to Node 1");
        var subscriber = stage.Enter("Subscriber", 1);
        await subscriber.SubscribeAsync(Topic);
        stage.Title("Node Join");
        stage.Say("broker-3", "Asks broker-2 to be taken in");
        stage.Brokers.StartJoining(3, 2);
        await stage.Brokers.HaveMembersAsync([1, 2, 3], [1, 2, 3]);
        stage.Say("Check", "every node sees three members, who vote in every shard");
        stage.Title("Publish to New Node");
        await stage.Enter("Publisher", 3).PublishAsync(Topic, "Hello, world!");
        await subscriber.HearsAsync("Hello, world!");
        stage.Title("Node Leave");
        await using var admin = stage.Brokers.Connect(1, 2);
        await admin.RemoveNodeAsync(3);
        await stage.Brokers.HaveMembersAsync([1, 2], [1, 2]);
        await stage.Brokers.SaysAsync(3, "serves nothing any more");
        stage.Title("Publish Later");
        await stage.Enter("Publisher", 2).PublishAsync(Topic, "Hello, later");
        await subscriber.HearsAsync("Hello, world!", "Hello, later");
    }

    private static async Task RejoinAsync(Stage stage)
    {
        await stage.FormAsync(3);
        var publisher = stage.Enter("Publisher", 1);
        await publisher.PublishAsync(Topic, "All are here");
        stage.Title("A Node Is Away and Comes Back");
        await stage.KillAsync(3);
        await publisher.PublishAsync(Topic, "Two are here");
        stage.Brokers.Start(3);
        await stage.Brokers.BecomeHealthyAsync(3);
        var subscriber = stage.Enter("Subscriber", 3);
        await subscriber.SubscribeAsync(Topic, from: 0);
        await subscriber.HearsAsync("All are here", "Two are here");

        stage.Title("It Is Removed While It Is Dead");
        await stage.KillAsync(3);
        await using var admin = stage.Brokers.Connect(1, 2);
        await admin.RemoveNodeAsync(3);
        await stage.Brokers.HaveMembersAsync([1, 2], [1, 2]);
        stage.Brokers.Start(3);
        await stage.Brokers.SaysAsync(3, "serves nothing any more");

        stage.Title("With an Empty Folder It Joins Anew");
        await stage.KillAsync(3);
        Directory.Delete(stage.Brokers.FolderOf(3), recursive: true);
        stage.Brokers.StartJoining(3, 1, 2);
        await stage.Brokers.HaveMembersAsync([1, 2, 3], [1, 2, 4]);
        var again = stage.Enter("Subscriber", 3);
        await again.SubscribeAsync(Topic, from: 0);
        await again.HearsAsync("All are here", "Two are here");
    }

    private static async Task AbsentSubscriberAsync(Stage stage)
    {
        await stage.FormAsync(3);
        var subscriber = stage.Enter("Subscriber", 1);
        await subscriber.SubscribeAsync(Topic);
        var publisher = stage.Enter("Publisher", 2);
        await publisher.PublishAsync(Topic, "First");
        await subscriber.HearsAsync("First");
        stage.Title("The Subscriber Is Away, and So Is a Broker");
        await subscriber.LeaveAsync();
        await publisher.PublishAsync(Topic, "Second");
        await stage.KillAsync(1);
        await publisher.PublishAsync(Topic, "Third");
        stage.Title("It Comes Back at Another Node, Where It Was");
        var back = stage.Enter("Subscriber", 3);
        await back.SubscribeAsync(Topic, subscriber.Next);
        await back.HearsAsync("Second", "Third");
    }

    private static async Task ShardingAsync(Stage stage)
    {
        await stage.FormAsync(3, shards: 3);
        var leaders = new int[3];
        await Brokers.UntilAsync(
            async () =>
            {
                for (var i = 0; i < leaders.Length; i++)
                {
                    leaders[i] = await stage.LeaderAsync(i + 1, 1, 2, 3);
                }

                // Whoever was elected first hands over what others should lead, when they have been there for a while.
                return leaders.Distinct().Count() == leaders.Length;
            },
            static () => "each broker leads a shard");
        foreach (var (i, leader) in leaders.Index())
        {
            stage.Say("Cluster", $"shard {i + 1} is led by broker-{leader}");
        }

        stage.Title("Publish");
        var publisher = stage.Enter("Publisher", 1);
        for (var number = 1; number <= 8; number++)
        {
            await publisher.PublishAsync($"orders.{number}", $"Order {number}");
        }

        await using var client = stage.Brokers.Connect(1, 2, 3);
        var topics = await client.ListTopicsAsync();
        foreach (var topic in topics)
        {
            stage.Say("Cluster", $"topic `{topic.Name}` is in shard {topic.Shard}");
        }

        stage.Expect(topics.Select(static topic => topic.Shard).Distinct().Count() > 1, "topics are in several shards");
    }

    private static async Task GrowAndShrinkAsync(Stage stage)
    {
        int[] five = [1, 2, 3, 4, 5];
        await stage.FormAsync(3, shards: 3);
        await using var admin = stage.Brokers.Connect(five);
        await admin.SetShardVotersAsync(3);
        await VoteAsync(stage, five[..3], 3);

        stage.Title("Load: somebody publishes all the while");
        await using var publisher = stage.Brokers.Connect(five);
        using var stop = new CancellationTokenSource();
        var load = Task.Run(() => PublishNumbersAsync(publisher, stop.Token));

        stage.Title("From Three to Five");
        foreach (var node in five[3..])
        {
            var watch = Stopwatch.StartNew();
            stage.Brokers.StartJoining(node, 1, 2, 3);
            await VoteAsync(stage, five[..node], 3);
            stage.Say($"broker-{node}", $"is a member with its part of the votes after {watch.ElapsedMilliseconds} ms");
        }

        stage.Title("The First Three Go");
        foreach (var node in five[..3])
        {
            var watch = Stopwatch.StartNew();
            await admin.RemoveNodeAsync(node);
            stage.Say($"broker-{node}", $"has left after {watch.ElapsedMilliseconds} ms");
        }

        await VoteAsync(stage, [4, 5], 2);
        await stop.CancelAsync();
        var (count, longestMs) = await load;
        stage.Say("Publisher", $"{count} messages were acknowledged; the longest it waited for one was {longestMs} ms");

        stage.Title("All of It Is There");
        foreach (var node in five[3..])
        {
            await using var reader = stage.Brokers.Connect(node);
            var next = 0;
            await foreach (var record in reader.ReadAsync(Topic, new ReadOptions { FromOffset = 0, Follow = true }))
            {
                if (record.Offset != next || BitConverter.ToInt32(record.Value.Span) != next)
                {
                    throw new InvalidOperationException($"Offset {next} has another message at broker-{node}.");
                }

                if (++next == count)
                {
                    break;
                }
            }

            stage.Expect(next == count, $"broker-{node} has all {count} messages, each at its offset");
        }
    }

    /// <summary>The number of messages, and the longest time for which one was not acknowledged.</summary>
    private static async Task<(int Count, long LongestMs)> PublishNumbersAsync(
        BrokerClient publisher, CancellationToken stop)
    {
        var (count, longestMs) = (0, 0L);
        while (!stop.IsCancellationRequested)
        {
            var watch = Stopwatch.StartNew();

            // The last one is finished, too: it counts.
            await publisher.PublishAsync(
                Topic, new BrokerMessage { Value = BitConverter.GetBytes(count) }, CancellationToken.None);
            longestMs = Math.Max(longestMs, watch.ElapsedMilliseconds);
            count++;
        }

        return (count, longestMs);
    }

    /// <summary>Waits until these nodes alone are members, and each shard for topics has its voters.</summary>
    private static async Task VoteAsync(Stage stage, int[] members, int voters)
    {
        await stage.Brokers.UntilAllVoteAsync(members, voters);
        foreach (var shard in (await stage.Brokers.DescribeAsync(members[^1]))!.Shards.Skip(1))
        {
            stage.Say("Cluster", $"shard {shard.Shard} is voted in by broker {string.Join(", ", shard.Voters)}");
        }
    }

    private static async Task ControllersAsync(Stage stage)
    {
        int[] controllers = [1, 2, 3];
        int[] data = [4, 5, 6];
        int[] all = [.. controllers, .. data];
        await stage.FormAsync(6, roles: all.ToDictionary(
            static node => node, node => controllers.Contains(node) ? "controller" : "data"));
        await stage.Brokers.HaveRolesAsync(all, controllers, data);
        stage.Say(
            "Cluster", "broker-1 to broker-3 vote in the metadata alone, broker-4 to broker-6 in the topics' shard");

        stage.Title("Publish at Each Node, Read at a Controller");
        var subscriber = stage.Enter("Subscriber", 1);
        await subscriber.SubscribeAsync(Topic);
        var texts = new List<string>();
        foreach (var node in all)
        {
            texts.Add($"At {(node <= 3 ? "controller" : "data node")} broker-{node}");
            await stage.Enter($"Publisher {node}", node).PublishAsync(Topic, texts[^1]);
        }

        await subscriber.HearsAsync([.. texts]);

        stage.Title("The Controller That Leads the Metadata Fails");
        var controller = await stage.LeaderAsync(0, all);
        stage.Expect(controllers.Contains(controller), $"a controller leads the metadata: broker-{controller}");
        await stage.KillAsync(controller);
        var living = controllers.Where(node => node != controller).ToArray();
        texts.Add("With two controllers");
        await stage.Enter("Publisher", living[0]).PublishAsync(Topic, texts[^1]);
        var other = stage.Enter("Other Subscriber", living[1]);
        await other.SubscribeAsync(Topic, from: 0);

        stage.Title("The Data Node That Leads the Shard Fails");
        var leader = await stage.LeaderAsync(1, [.. living, .. data]);
        stage.Expect(data.Contains(leader), $"a data node leads the shard: broker-{leader}");
        await stage.KillAsync(leader);
        texts.Add("With two data nodes");
        await stage.Enter("Publisher", living[1]).PublishAsync(Topic, texts[^1]);
        await other.HearsAsync([.. texts]);

        stage.Title("Both Come Back, With Their Roles");
        stage.Brokers.Start(controller);
        stage.Brokers.Start(leader);
        await stage.Brokers.HaveRolesAsync(all, controllers, data);
        await stage.Brokers.BecomeHealthyAsync(all);
        var last = stage.Enter("Last Subscriber", controller);
        await last.SubscribeAsync(Topic, from: 0);
        await last.HearsAsync([.. texts]);
    }

    private static int[] Others(int node) => [.. new[] { 1, 2, 3 }.Where(each => each != node)];
}
