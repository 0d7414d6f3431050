using System.CommandLine;
using System.Globalization;
using Broker.Client;

namespace Broker.Tests.Benchmarks;

/// <summary>Kills the leader of a topic again and again under load; tells the longest silence of each time.</summary>
internal static class FailoverVerb
{
    private const string Topic = "failover.load";

    public static readonly TimeSpan Load = TimeSpan.FromSeconds(6);
    public static readonly TimeSpan KillAfter = TimeSpan.FromSeconds(2);

    public static Command Create()
    {
        var rounds = NumberOption.Rounds(
            5, "Leaders killed with the client first on a follower, and as many with it on the leader.");
        var command = new Command("kill", "Kills leaders with kill -9 and measures the silence that clients see.")
        {
            rounds,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            var folder = Directory.CreateTempSubdirectory("broker-kill-");
            try
            {
                return await RunAsync(folder.FullName, parsed.GetValue(rounds), cancellationToken);
            }
            finally
            {
                folder.Delete(recursive: true);
            }
        });
        return command;
    }

    private static async Task<int> RunAsync(string folder, int rounds, CancellationToken cancellationToken)
    {
        var broker = Path.Combine(AppContext.BaseDirectory, "Broker.dll");
        await using var cluster = await BrokerCluster.StartAsync([broker], folder, cancellationToken);
        Console.WriteLine("| client connected to | longest silence ms, median (least..most) | errors |");
        Console.WriteLine("|---|---|---|");
        foreach (var onLeader in (bool[])[false, true])
        {
            var gaps = new List<double>();
            var errors = 0L;
            for (var round = 0; round < rounds; round++)
            {
                var result = await KillOnceAsync(cluster, onLeader, cancellationToken);
                gaps.Add(result.Gap!.Value.LengthMs);
                errors += result.Errors;
            }

            gaps.Sort();
            var median = (gaps[(rounds - 1) / 2] + gaps[rounds / 2]) / 2;
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"| {(onLeader ? "the leader" : "a follower")} "
                + $"| {median:N0} ({gaps[0]:N0}..{gaps[^1]:N0}) | {errors} |"));
        }

        return 0;
    }

    /// <summary>Publishes one at a time, kills the topic's leader meanwhile, and starts it again.</summary>
    public static async Task<LoadResult> KillOnceAsync(
        BrokerCluster cluster, bool onLeader, CancellationToken cancellationToken)
    {
        int leader;
        await using (var client = new BrokerClient(new BrokerClientOptions { Addresses = cluster.Addresses }))
        {
            await client.PublishAsync(Topic, new BrokerMessage(), cancellationToken);
            leader = await LoadVerbs.FindLeaderAsync(client, Topic, cancellationToken);
        }

        var first = onLeader ? leader : (leader + 1) % cluster.Addresses.Count;
        var settings = new LoadSettings
        {
            Addresses = [cluster.Addresses[first], .. cluster.Addresses.Where((_, i) => i != first)],
            Topics = [Topic],
            Duration = Load,
        };
        LoadResult result;
        await using (var client = settings.Connect())
        {
            var load = FailoverLoad.RunAsync(settings, client, cancellationToken);
            await Task.Delay(KillAfter, cancellationToken);
            await cluster.KillAsync(leader);
            result = await load;
        }

        cluster.Start(leader);
        await cluster.WaitUntilHealthyAsync(leader, cancellationToken);
        return result;
    }
}
