using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Broker.Client;
using Broker.Domain;

namespace Broker.Tests.Benchmarks;

/// <summary>
/// What many topics cost: how long they take to make, what publishing to a few of them and to all of them reaches, what
/// the brokers hold in memory, how long a list takes, and how long all brokers take to be back after kill -9. Each
/// count has a cluster of its own.
/// </summary>
internal static class TopicsVerb
{
    private const int FewTopics = 100;

    public static Command Create()
    {
        var counts = NumberOption.Many(
            "--counts",
            [100, 1_000, 10_000, Limits.Topics],
            FewTopics,
            Limits.Topics,
            "Topics, one cluster for each count.");
        var rounds = NumberOption.Rounds(1, "Rounds, each with every count; every line is told.");
        var seconds = NumberOption.Seconds(5, "Seconds of each load.");
        var turns = NumberOption.Make(
            "--turns", 5, 1, 100, "How often the two loads follow each other on one cluster; the medians are told.");
        var command = new Command("topics", "Measures what a cluster with many topics does.")
        {
            counts, rounds, seconds, turns,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            Console.WriteLine(
                $"| topics | made a second | MB a node | publishes/s, {FewTopics} of them | the same, all of them "
                + "| ratio | MB a node then | disk MiB a node | a list s | its slowest page ms | all killed, led s "
                + "| next publish s | MB a node |");
            Console.WriteLine("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
            for (var round = 0; round < parsed.GetValue(rounds); round++)
            {
                foreach (var count in parsed.GetRequiredValue(counts))
                {
                    await BrokerCluster.InTemporaryFolderAsync("topics", folder => RunAsync(
                        folder,
                        count,
                        TimeSpan.FromSeconds(parsed.GetValue(seconds)),
                        parsed.GetValue(turns),
                        cancellationToken));
                }
            }

            return 0;
        });
        return command;
    }

    private static async Task RunAsync(
        string folder, int count, TimeSpan length, int turns, CancellationToken cancellationToken)
    {
        await using var cluster = await BrokerCluster.StartBalancedAsync(folder, cancellationToken);
        await using var client = new BrokerClient(new BrokerClientOptions { Addresses = cluster.Addresses });
        string[] names = [.. Enumerable.Range(0, count).Select(static number => $"topics.{number:D6}")];
        var begun = Stopwatch.GetTimestamp();
        await PublishLoad.MakeTopicsAsync(client, names, cancellationToken);
        var made = count / Stopwatch.GetElapsedTime(begun).TotalSeconds;
        var held = cluster.MeanMegabytes();
        // The first loads of a cluster are those of code that is being compiled.
        await LoadAsync(cluster, names[..FewTopics], length, cancellationToken);
        await LoadAsync(cluster, names, length, cancellationToken);
        var loads = new List<(double Some, double All)>();
        for (var turn = 0; turn < turns; turn++)
        {
            var toSome = await LoadAsync(cluster, names[..FewTopics], length, cancellationToken);
            loads.Add((toSome, await LoadAsync(cluster, names, length, cancellationToken)));
        }

        var some = ResultTable.Median(loads.Select(static each => each.Some));
        var all = ResultTable.Median(loads.Select(static each => each.All));
        var ratio = ResultTable.Median(loads.Select(static each => each.All / each.Some));
        var loaded = cluster.MeanMegabytes();
        var (listed, slowest) = await ListAsync(client, count, cancellationToken);
        var disk = RetentionVerb.LargestOf(folder).Bytes / (double)(1 << 20);

        await cluster.KillAllAsync();
        begun = Stopwatch.GetTimestamp();
        await cluster.StartAsync([.. Enumerable.Range(0, BrokerCluster.Nodes)], cancellationToken);
        var healthy = Stopwatch.GetElapsedTime(begun);
        await client.PublishAsync(names[^1], new BrokerMessage { Value = PublishLoad.Payload(128) }, cancellationToken);
        var published = Stopwatch.GetElapsedTime(begun);
        if ((await client.ListTopicsAsync("topics.*", cancellationToken)).Count is var left && left != count)
        {
            throw new InvalidOperationException($"{count} topics were made, and {left} are there after the restart.");
        }

        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"| {count:N0} | {made:N0} | {held:N0} | {some:N0} | {all:N0} | {ratio:N2} | {loaded:N0} | {disk:N0} "
            + $"| {listed.TotalSeconds:N2} | {slowest.TotalMilliseconds:N0} | {healthy.TotalSeconds:N2} "
            + $"| {published.TotalSeconds:N2} | {cluster.MeanMegabytes():N0} |"));
    }

    /// <summary>
    /// One message a request to the topics in turn, so that how many there are does not change how many go together.
    /// </summary>
    /// <returns>Messages a second.</returns>
    private static async Task<double> LoadAsync(
        BrokerCluster cluster, string[] topics, TimeSpan length, CancellationToken cancellationToken)
    {
        var settings = new LoadSettings
        {
            Addresses = cluster.Addresses,
            Topics = topics,
            Window = 1_024,
            RecordsPerBatch = 1,
            Duration = length,
        };
        await using var client = settings.Connect();

        // Code, connections, and what a topic's first record makes.
        await PublishLoad.AllAsync(Math.Max(2 * topics.Length, 50_000), settings.Window, number => client.PublishAsync(
            topics[(int)(number % topics.Length)], new BrokerMessage(), cancellationToken));
        var result = await PublishLoad.PipelinedAsync(settings, client, cancellationToken);
        return result.Errors == 0
            ? result.MessagesPerSecond
            : throw new InvalidOperationException($"{result.Errors} publishes to {topics.Length} topics failed.");
    }

    private static async Task<(TimeSpan All, TimeSpan SlowestPage)> ListAsync(
        BrokerClient client, int count, CancellationToken cancellationToken)
    {
        var (begun, slowest, listed, token) = (Stopwatch.GetTimestamp(), TimeSpan.Zero, 0, "");
        do
        {
            var pageBegun = Stopwatch.GetTimestamp();
            var page = await client.ListTopicsPageAsync("topics.*", token, cancellationToken);
            var took = Stopwatch.GetElapsedTime(pageBegun);
            slowest = took > slowest ? took : slowest;
            listed += page.Topics.Count;
            token = page.NextPageToken;
        }
        while (token.Length > 0);
        return listed == count
            ? (Stopwatch.GetElapsedTime(begun), slowest)
            : throw new InvalidOperationException($"{count} topics were made, and {listed} listed.");
    }
}
