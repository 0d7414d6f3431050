using System.CommandLine;
using System.Text.Json.Nodes;
using Broker.Cli.Text;
using Broker.Client;
using Spectre.Console;

namespace Broker.Cli.Verbs;

/// <summary>A live view of everything: nodes, shards with Raft's figures, the busiest topics, groups.</summary>
internal static class TopVerb
{
    private static readonly Option<TimeSpan?> Interval = Values.Duration("--interval", "How often. Default: 1s.");

    private static readonly Option<bool> Once = Verb.Flag(
        "--once", "Looks twice, an interval apart, prints what was seen, and ends; the default without a terminal.");

    private static readonly Option<long?> Rows = Values.Number(
        "--rows", "The most topics and groups that are shown. Default: 15.", 1, 1_000);

    private static readonly Column<TopicRate>[] Topics =
    [
        new("topic", static topic => topic.Name),
        new("shard", static topic => topic.Shard),
        new("next_offset", static topic => topic.NextOffset),
        new("messages_per_second", static topic => Math.Round(topic.PerSecond, 1)),
    ];

    private static readonly Column<GroupInfo>[] Groups =
    [
        new("group", static group => group.Name),
        new("consumers", static group => group.Consumers),
        new("lag", static group => group.Lag),
        new("dead_letters", static group => group.DeadLetters),
        new("paused", static group => group.Paused),
    ];

    public static Command Create() => Verb.Make(
        "top",
        "Shows nodes, shards, the busiest topics and the groups with the most lag, live; Ctrl-C ends it.",
        [Interval, Once, Rows],
        RunAsync);

    private static async Task RunAsync(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var interval = parsed.GetValue(Interval) ?? TimeSpan.FromSeconds(1);
        if (interval < TimeSpan.FromMilliseconds(100))
        {
            throw new UsageException("--interval is below 100ms.");
        }

        var rows = (int)(parsed.GetValue(Rows) ?? 15);
        var before = await LookAsync(session.Client, rows, null, cancellationToken);
        if (parsed.GetValue(Once) || session.Output is not { IsTerminal: true, Format: OutputFormat.Table })
        {
            await Task.Delay(interval, cancellationToken);
            Print(session.Output, await LookAsync(session.Client, rows, before, cancellationToken));
            return;
        }

        // The alternate screen: what stood in the terminal before is there again afterwards.
        var console = session.Output.Terminal;
        console.Write(new ControlCode("\u001b[?1049h\u001b[H"));
        try
        {
            await console.Live(Draw(before)).StartAsync(live => FollowAsync(live, session.Client));
        }
        finally
        {
            console.Write(new ControlCode("\u001b[?1049l"));
        }

        async Task FollowAsync(LiveDisplayContext live, BrokerClient client)
        {
            while (true)
            {
                await Task.Delay(interval, cancellationToken);
                try
                {
                    before = await LookAsync(client, rows, before, cancellationToken);
                    live.UpdateTarget(Draw(before));
                }
                catch (BrokerClientException error)
                {
                    // It may pass: what was seen last stays.
                    live.UpdateTarget(new Rows(Draw(before), new Markup($"[red]{Markup.Escape(error.Message)}[/]")));
                }
            }
        }
    }

    private static async Task<View> LookAsync(
        BrokerClient client, int rows, View? before, CancellationToken cancellationToken)
    {
        var cluster = await client.DescribeClusterAsync(cancellationToken);
        var topics = await client.ListTopicsAsync(cancellationToken: cancellationToken);
        var at = Session.Clock.GetTimestamp();
        var ends = topics.ToDictionary(static topic => topic.Name, EndOf, StringComparer.Ordinal);
        var seconds = before is null ? 0 : Session.Clock.GetElapsedTime(before.At, at).TotalSeconds;
        var rates = topics.Select(topic => new TopicRate(
            topic.Name,
            topic.Shard,
            ends[topic.Name],
            seconds > 0 ? Math.Max(0, ends[topic.Name] - before!.Ends.GetValueOrDefault(topic.Name)) / seconds : 0));
        var groups = await client.ListGroupsAsync(figures: true, cancellationToken: cancellationToken);
        return new View(
            at,
            cluster,
            ends,
            [.. rates.OrderByDescending(static rate => rate.PerSecond)
                .ThenByDescending(static rate => rate.NextOffset)
                .ThenBy(static rate => rate.Name, StringComparer.Ordinal).Take(rows)],
            [.. groups.OrderByDescending(static group => group.Lag)
                .ThenBy(static group => group.Name, StringComparer.Ordinal).Take(rows)]);
    }

    private static long EndOf(TopicInfo topic) => topic.Partitions.Count == 0
        ? topic.NextOffset
        : topic.Partitions.Sum(static partition => partition.NextOffset);

    private static void Print(Output output, View view)
    {
        if (output.Format == OutputFormat.Json)
        {
            output.WriteJson(new JsonObject
            {
                ["nodes"] = ArrayOf(view.Cluster.Nodes, ClusterVerbs.Nodes),
                ["shards"] = ArrayOf(view.Cluster.Shards, ClusterVerbs.Shards),
                ["topics"] = ArrayOf(view.Topics, Topics),
                ["groups"] = ArrayOf(view.Groups, Groups),
            });
            return;
        }

        output.List(view.Cluster.Nodes, ClusterVerbs.Nodes);
        output.Heading("Shards:");
        output.List(view.Cluster.Shards, ClusterVerbs.Shards);
        output.Heading("Topics:");
        output.List(view.Topics, Topics);
        output.Heading("Groups:");
        output.List(view.Groups, Groups);
    }

    private static JsonArray ArrayOf<T>(IEnumerable<T> rows, Column<T>[] columns) =>
        new([.. rows.Select(row => Output.Object(columns, row))]);

    private static Rows Draw(View view) => new(
        new Markup(Markup.Escape(
            $"broker top · cluster {view.Cluster.ClusterId} · asked node {view.Cluster.ThisNode}")),
        TableOf("Nodes", view.Cluster.Nodes, ClusterVerbs.Nodes),
        TableOf("Shards", view.Cluster.Shards, ClusterVerbs.Shards),
        TableOf("Topics", view.Topics, Topics),
        TableOf("Groups", view.Groups, Groups));

    private static Table TableOf<T>(string title, IEnumerable<T> rows, Column<T>[] columns)
    {
        var table = new Table { Border = TableBorder.Rounded, Title = new TableTitle(title), Expand = true };
        foreach (var column in columns)
        {
            table.AddColumn(Markup.Escape(column.Name.Replace('_', ' ')));
        }

        foreach (var row in rows)
        {
            table.AddRow([.. columns.Select(column => new Markup(Markup.Escape(Output.Cell(column.Value(row)))))]);
        }

        return table;
    }

    private sealed record TopicRate(string Name, int Shard, long NextOffset, double PerSecond);

    /// <param name="At">When it was seen, for the rates of the next look.</param>
    /// <param name="Cluster">Nodes and shards.</param>
    /// <param name="Ends">Of each topic the sum of its partitions' next offsets.</param>
    /// <param name="Topics">The busiest ones.</param>
    /// <param name="Groups">Those with the most lag.</param>
    private sealed record View(
        long At,
        ClusterInfo Cluster,
        Dictionary<string, long> Ends,
        IReadOnlyList<TopicRate> Topics,
        IReadOnlyList<GroupInfo> Groups);
}
