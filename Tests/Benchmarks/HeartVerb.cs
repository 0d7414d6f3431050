using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Broker.Api;
using Broker.Cluster;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace Broker.Tests.Benchmarks;

/// <summary>
/// The heart alone, in three processes: commands proposed inside the leader, over the real disk and real loopback
/// streams, without clients. The processes are whole brokers with one endpoint more, /heart, which runs a load.
/// </summary>
internal static class HeartVerb
{
    private static readonly (string Name, int Size, int Records, int Window)[] Loads =
    [
        ("128 B, 128 a batch, 64 batches at a time", 128, 128, 64),
        ("1 KiB, 64 a batch, 32 batches at a time", 1024, 64, 32),
        ("128 B, one a command, 4,096 at a time", 128, 1, 4096),
        ("1 KiB, one a command, 1,024 at a time", 1024, 1, 1024),
        ("128 B, one at a time", 128, 1, 1),
        ("1 KiB, one at a time", 1024, 1, 1),
    ];

    public static IEnumerable<Command> Create() => [Coordinator(), Node()];

    private static Command Coordinator()
    {
        var rounds = NumberOption.Rounds(3);
        var secs = NumberOption.Seconds(4, "Seconds of each load.");
        var only = new Option<string>("--only")
        {
            Description = "Only the loads whose name contains this, so that none comes after another one's writing.",
            DefaultValueFactory = _ => "",
        };
        only.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<string>() is { } text
                && !Loads.Any(load => load.Name.Contains(text, StringComparison.Ordinal)))
            {
                result.AddError($"No load is called like \"{text}\"; there are: "
                    + string.Join("; ", Loads.Select(load => load.Name)) + ".");
            }
        });
        var work = new Option<DirectoryInfo>("--work")
        {
            Description = "Where the nodes keep their data. Default: a temporary folder.",
            DefaultValueFactory = _ => Directory.CreateTempSubdirectory("broker-heart-"),
        };
        var command = new Command("heart", "Measures consensus, storage and transport without clients, in 3 processes.")
        {
            rounds, secs, only, work,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            var folder = parsed.GetRequiredValue(work);
            try
            {
                return await RunAsync(
                    folder.FullName, parsed.GetValue(rounds), parsed.GetValue(secs), parsed.GetRequiredValue(only),
                    cancellationToken);
            }
            finally
            {
                folder.Delete(recursive: true);
            }
        });
        return command;
    }

    private static Command Node()
    {
        var command = new Command("heart-node", "One node of the verb heart; settings as for a broker.");
        command.SetAction(async (_, cancellationToken) =>
        {
            var app = BrokerHost.Build([]);
            app.MapGet("/heart", async (BrokerNode node, int size, int records, int window, double secs) =>
            {
                var result = await HeartLoad.RunAsync(node, size, records, window, TimeSpan.FromSeconds(secs));
                return result is null ? Results.NotFound() : Results.Text(result.ToJson());
            });
            await app.RunAsync();
            return 0;
        });
        return command;
    }

    private static async Task<int> RunAsync(
        string folder, int rounds, double secs, string only, CancellationToken cancellationToken)
    {
        var program = Path.Combine(AppContext.BaseDirectory, "Broker.Tests.Benchmarks.dll");
        await using var cluster = await BrokerCluster.StartAsync([program, "heart-node"], folder, cancellationToken);
        await cluster.WaitForBalanceAsync(cancellationToken);
        using var http = new HttpClient { Timeout = TimeSpan.FromMinutes(5) };
        var rows = new List<(string Name, JsonElement Result, double CpuSeconds)>();
        for (var round = 0; round < rounds; round++)
        {
            foreach (var load in Loads.Where(load => load.Name.Contains(only, StringComparison.Ordinal)))
            {
                var cpu = cluster.CpuSeconds();
                var query = string.Create(
                    CultureInfo.InvariantCulture,
                    $"/heart?size={load.Size}&records={load.Records}&window={load.Window}&secs={secs}");
                var result = await LoadAsync(cluster, http, query, cancellationToken);
                rows.Add((load.Name, result, cluster.CpuSeconds() - cpu));
            }
        }

        Print(rows, secs);
        return rows.TrueForAll(row => row.Result.GetProperty("errors").GetInt64() == 0) ? 0 : 1;
    }

    private static async Task<JsonElement> LoadAsync(
        BrokerCluster cluster, HttpClient http, string query, CancellationToken cancellationToken)
    {
        foreach (var address in cluster.HttpAddresses)
        {
            using var response = await http.GetAsync(new Uri(address, query), cancellationToken);
            if (response.IsSuccessStatusCode)
            {
                return await JsonSerializer.DeserializeAsync<JsonElement>(
                    await response.Content.ReadAsStreamAsync(cancellationToken), cancellationToken: cancellationToken);
            }
        }

        throw new InvalidOperationException("No node leads a data shard.");
    }

    private static void Print(List<(string Name, JsonElement Result, double CpuSeconds)> rows, double secs)
    {
        Console.WriteLine(
            "| load | msgs/s, median (least..most) | MB/s | p50 ms | p99 ms | CPU s/1M, 3 nodes "
            + "| bytes allocated a message | refused |");
        Console.WriteLine("|---|---|---|---|---|---|---|---|");
        foreach (var group in rows.GroupBy(row => row.Name))
        {
            var rates = Sorted(group, "msgs_per_s");

            // The half second of warming up is in the processor time and in nothing else.
            var cpu = group.Select(row => row.CpuSeconds * secs / (secs + 0.5) * 1e6
                / Math.Max(1, row.Result.GetProperty("msgs").GetInt64())).Order().ToList();
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"| {group.Key} | {Median(rates):N0} ({rates[0]:N0}..{rates[^1]:N0}) "
                + $"| {Median(Sorted(group, "MBps")):N0} "
                + $"| {Median(Sorted(group, "us_p50")) / 1e3:N2} | {Median(Sorted(group, "us_p99")) / 1e3:N2} "
                + $"| {Median(cpu):N1} | {Median(Sorted(group, "alloc_per_msg")):N0} "
                + $"| {group.Sum(row => Number(row.Result, "errors")):N0} |"));
        }
    }

    private static List<double> Sorted(
        IEnumerable<(string Name, JsonElement Result, double CpuSeconds)> rows, string property) =>
        [.. rows.Select(row => Number(row.Result, property)).Order()];

    /// <summary>0 where the load told nothing: all of its commands were refused.</summary>
    private static double Number(JsonElement result, string property) =>
        result.TryGetProperty(property, out var value) ? value.GetDouble() : 0;

    private static double Median(List<double> sorted) =>
        (sorted[(sorted.Count - 1) / 2] + sorted[sorted.Count / 2]) / 2;
}
