using System.CommandLine;
using System.Text.Json.Nodes;
using Broker.Cli.Text;
using Broker.Client;

namespace Broker.Cli.Verbs;

/// <summary>Nodes, shards, leaders.</summary>
internal static class ClusterVerbs
{
    private static readonly Argument<int> Node = Values.NumberArgument("node", "Its number, see 'cluster status'.", 1);

    private static readonly Argument<int> Shard = Values.NumberArgument("shard", "Its number, from 0.", 0);

    private static readonly Argument<int> ToNode = MakeToNode();

    private static readonly Argument<int> Voters = Values.NumberArgument(
        "count", "How many data nodes vote in each shard for topics: 3 or more. 0: all.", 0);

    private static readonly Argument<int> Replicas = Values.NumberArgument(
        "count", "How many data nodes keep the records of each shard for topics, and vote in it: 3 or more.", 3);

    private static readonly Argument<string> NodeName = Verb.Name("name", "What the node is called in its settings.");

    private static readonly Argument<string> Address = Verb.Name("address", "Where the other brokers reach it.");

    private static readonly Option<bool> Yes = Verb.Yes();

    public static readonly Column<NodeInfo>[] Nodes =
    [
        new("node", static node => node.NodeId),
        new("name", static node => node.Name),
        new("address", static node => node.Address),
        new("roles", RolesOf),
        new("state", static node => node.State.ToString().ToLowerInvariant()),
        new("connected", static node => node.Connected),
        new("draining", static node => node.Draining),
        new("pid", static node => node.ProcessId),
    ];

    public static readonly Column<ShardInfo>[] Shards =
    [
        new("shard", static shard => shard.Shard),
        new("leader", static shard => shard.Leader == 0 ? null : shard.Leader),
        new("preferred", static shard => shard.PreferredLeader == 0 ? null : shard.PreferredLeader),
        new("term", static shard => shard.Term),
        new("commit", static shard => shard.CommitIndex),
        new("applied", static shard => shard.AppliedIndex),
        new("last", static shard => shard.LastIndex),
        new("voters", static shard => shard.Voters),
        new("learners", static shard => shard.Learners),
        new("placed", static shard => shard.PlacedVoters),
        new("elsewhere", static shard => shard.SegmentsElsewhere),
    ];

    public static Command Create() => Verb.Family(
        "cluster",
        "Nodes and shards: status, add, remove, drain, undrain, transfer, rebalance, voters, replicas.",
        Verb.Make("status", "Shows nodes, shards and their leaders, as the asked broker knows them.", [], StatusAsync),
        Verb.Make(
            "add",
            Verb.WithExamples(
                "Takes in a node that waits for it: it learns first, and votes when it has everything.",
                "broker cluster add broker-4 http://10.0.0.4:8001"),
            [NodeName, Address],
            AddAsync),
        Verb.Make(
            "remove",
            "Removes a node for good, also a dead one. Its leaderships move first; its disk is refused from then on.",
            [Node, Yes],
            RemoveAsync),
        Verb.Make("drain", "Moves all leaderships away from a node, and keeps them away.", [Node], DrainAsync),
        Verb.Make("undrain", "Lets a node lead again.", [Node], UndrainAsync),
        Verb.Make(
            "transfer",
            "Moves the leadership of a shard to a node, or to any other one.",
            [Shard, ToNode],
            TransferAsync),
        Verb.Make("rebalance", "Moves each leadership to the node that is to have it.", [], RebalanceAsync),
        Verb.Make(
            "voters",
            Verb.WithExamples(
                "Says how many data nodes vote in each shard; the others receive its log and serve it as before.",
                "broker cluster voters 3"),
            [Voters],
            SetVotersAsync),
        Verb.Make(
            "replicas",
            Verb.WithExamples(
                "Says how many data nodes vote in each shard and alone keep its records; 'voters' has all keep them.",
                "broker cluster replicas 3"),
            [Replicas],
            SetReplicasAsync));

    private static string[] RolesOf(NodeInfo node)
    {
        var roles = new[] { ("controller", node.IsController), ("data", node.HoldsTopics) };
        return [.. roles.Where(static role => role.Item2).Select(static role => role.Item1)];
    }

    private static Argument<int> MakeToNode()
    {
        var node = Values.NumberArgument("node", "Where to. Default: any other node.", 1);
        node.DefaultValueFactory = static _ => 0;
        return node;
    }

    private static async Task StatusAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var cluster = await session.Client.DescribeClusterAsync(cancellationToken);
        var server = await session.Client.GetServerInfoAsync(cancellationToken);
        Column<ClusterInfo>[] properties =
        [
            new("cluster", static cluster => cluster.ClusterId),
            new("asked_node", static cluster => cluster.ThisNode),
            new("shard_voters", static cluster => cluster.ShardVoters),
            new("only_voters_keep_records", static cluster => cluster.OnlyVotersKeepRecords),
            new("version", _ => server.Version),
        ];
        if (session.Output.Format == OutputFormat.Json)
        {
            var json = Output.Object(properties, cluster);
            json["nodes"] = new JsonArray([.. cluster.Nodes.Select(static node => Output.Object(Nodes, node))]);
            json["shards"] = new JsonArray([.. cluster.Shards.Select(static shard => Output.Object(Shards, shard))]);
            session.Output.WriteJson(json);
            return;
        }

        session.Output.Describe(cluster, properties);
        session.Output.Heading("Nodes:");
        session.Output.List(cluster.Nodes, Nodes);
        session.Output.Heading("Shards:");
        session.Output.List(cluster.Shards, Shards);
    }

    private static async Task AddAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var name = parsed.GetRequiredValue(NodeName);
        var address = Addresses.Parse([parsed.GetRequiredValue(Address)], "address")[0];
        var node = await session.Client.AddNodeAsync(name, address, cancellationToken);
        session.Output.Done(
            $"Node {node} ('{name}') joins; 'cluster status' shows when it is a member.",
            ("node", node),
            ("name", name));
    }

    private static async Task RemoveAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var node = parsed.GetRequiredValue(Node);
        await session.ConfirmAsync(parsed.GetValue(Yes), $"Removing node {node}", cancellationToken);
        await session.Client.RemoveNodeAsync(node, cancellationToken);
        session.Output.Done($"Node {node} leaves.", ("node", node));
    }

    private static async Task DrainAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var node = parsed.GetRequiredValue(Node);
        var left = await session.Client.DrainNodeAsync(node, cancellationToken);
        session.Output.Done(
            left.Count == 0
                ? $"Node {node} leads nothing any more."
                : $"Node {node} gives its leaderships away; it still leads {string.Join(", ", left)}.",
            ("node", node),
            ("shards_left", left));
    }

    private static async Task UndrainAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var node = parsed.GetRequiredValue(Node);
        await session.Client.UndrainNodeAsync(node, cancellationToken);
        session.Output.Done($"Node {node} may lead again.", ("node", node));
    }

    private static async Task SetVotersAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var count = parsed.GetRequiredValue(Voters);
        await session.Client.SetShardVotersAsync(count, cancellationToken);
        session.Output.Done(
            (count == 0 ? "All data nodes are" : $"{count} data nodes are")
                + " to vote in each shard; 'cluster status' shows how far the shards are.",
            ("shard_voters", count));
    }

    private static async Task SetReplicasAsync(
        Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var count = parsed.GetRequiredValue(Replicas);
        await session.Client.SetShardReplicasAsync(count, cancellationToken);
        session.Output.Done(
            $"{count} data nodes are to keep each shard; 'cluster status' shows how far the shards are.",
            ("shard_voters", count),
            ("only_voters_keep_records", true));
    }

    private static async Task TransferAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var shard = parsed.GetRequiredValue(Shard);
        var leader = await session.Client.TransferLeadershipAsync(
            shard, parsed.GetValue(ToNode), cancellationToken);
        session.Output.Done(
            $"Node {leader} leads shard {shard}.", ("shard", shard), ("leader", leader));
    }

    private static async Task RebalanceAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var cluster = await session.Client.DescribeClusterAsync(cancellationToken);
        var drained = cluster.Nodes.Where(static node => node.Draining).Select(static node => node.NodeId).ToHashSet();
        var moved = new List<(int Shard, int From, int To)>();
        foreach (var shard in cluster.Shards)
        {
            if (shard.PreferredLeader != 0 && shard.Leader != shard.PreferredLeader
                && !drained.Contains(shard.PreferredLeader))
            {
                var leader = await session.Client.TransferLeadershipAsync(
                    shard.Shard, shard.PreferredLeader, cancellationToken);
                moved.Add((shard.Shard, shard.Leader, leader));
            }
        }

        session.Output.List(
            moved,
            new("shard", static move => move.Shard),
            new("from", static move => move.From),
            new("to", static move => move.To));
    }
}
