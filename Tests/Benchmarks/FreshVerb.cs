using System.CommandLine;
using System.CommandLine.Parsing;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace Broker.Tests.Benchmarks;

/// <summary>
/// What a developer sees who starts the system and publishes at once: one message at a time on three brokers that have
/// just started, the same when they are warm, and what they cost when nobody has asked for anything for a minute.
/// Several versions take turns, each with its own load program.
/// </summary>
internal static class FreshVerb
{
    private const int IdleSeconds = 20;
    private const string Topic = "fresh.load";

    private static readonly TimeSpan SettleTime = TimeSpan.FromSeconds(8);

    /// <summary>Until what ran under the load is compiled for good.</summary>
    private static readonly TimeSpan IdleAfter = TimeSpan.FromSeconds(60);

    public static Command Create()
    {
        var versions = new Option<(string Name, string Folder)[]>("--version")
        {
            Description = "name=folder of a build of this project; may be given several times. Default: this build.",
            DefaultValueFactory = _ => [("this", AppContext.BaseDirectory)],
            CustomParser = ParseVersions,
        };
        var rounds = NumberOption.Rounds(3);
        var secs = NumberOption.Seconds(3, "Seconds of each load.");
        var command = new Command(
            "fresh", "Publishes one at a time on brokers that have just started; then measures them idle.")
        {
            versions, rounds, secs,
        };
        command.SetAction((parsed, cancellationToken) => RunAsync(
            parsed.GetRequiredValue(versions), parsed.GetValue(rounds), parsed.GetValue(secs), cancellationToken));
        return command;
    }

    private static (string Name, string Folder)[] ParseVersions(ArgumentResult result)
    {
        var versions = new List<(string Name, string Folder)>();
        foreach (var token in result.Tokens)
        {
            var at = token.Value.IndexOf('=', StringComparison.Ordinal);
            var folder = token.Value[(at + 1)..];
            if (at < 1 || !File.Exists(Path.Combine(folder, "Broker.dll")) || !File.Exists(LoadProgram(folder)))
            {
                result.AddError(
                    $"--version is '{token.Value}'; it must be name=folder, with Broker.dll and this program in it.");
                return [];
            }

            versions.Add((token.Value[..at], folder));
        }

        return [.. versions];
    }

    private static async Task RunAsync(
        (string Name, string Folder)[] versions, int rounds, double secs, CancellationToken cancellationToken)
    {
        var runs = versions.ToDictionary(static version => version.Name, static _ => new List<Run>());
        for (var round = 0; round < rounds; round++)
        {
            foreach (var (name, folder) in round % 2 == 0 ? versions : versions.Reverse())
            {
                runs[name].Add(await MeasureAsync(folder, secs, cancellationToken));
            }
        }

        Console.WriteLine(
            "| version | healthy s | fresh msgs/s (p50 ms) | warm msgs/s (p50 / p99 ms) | server CPU s/1M, warm "
            + "| three idle brokers, % of a core |");
        Console.WriteLine("|---|---|---|---|---|---|");
        foreach (var (name, _) in versions)
        {
            double Median(Func<Run, double> figure)
            {
                var sorted = runs[name].Select(figure).Order().ToList();
                return (sorted[(rounds - 1) / 2] + sorted[rounds / 2]) / 2;
            }

            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"| {name} | {Median(run => run.HealthySeconds):N2} "
                + $"| {Median(run => run.Fresh.Rate):N0} ({Median(run => run.Fresh.P50Ms):N2}) "
                + $"| {Median(run => run.Warm.Rate):N0} ({Median(run => run.Warm.P50Ms):N2} "
                + $"/ {Median(run => run.Warm.P99Ms):N2}) "
                + $"| {Median(run => run.WarmCpuPerMillion):N0} | {Median(run => run.IdlePercent):N1} |"));
        }
    }

    private static async Task<Run> MeasureAsync(string folder, double secs, CancellationToken cancellationToken)
    {
        var data = Directory.CreateTempSubdirectory("broker-fresh-");
        try
        {
            var began = Stopwatch.GetTimestamp();
            await using var cluster = await BrokerCluster.StartAsync(
                [Path.Combine(folder, "Broker.dll")], data.FullName, cancellationToken);
            var healthy = Stopwatch.GetElapsedTime(began).TotalSeconds;
            await LoadAsync(folder, cluster, ["setup"], cancellationToken);
            var seconds = secs.ToString(CultureInfo.InvariantCulture);
            var fresh = Load.From(await LoadAsync(folder, cluster, ["sync", "--secs", seconds], cancellationToken));
            await Task.Delay(SettleTime, cancellationToken);

            // The first brings the rest of the code to its final form.
            await LoadAsync(folder, cluster, ["sync", "--secs", seconds], cancellationToken);
            var cpu = cluster.CpuSeconds();
            var warm = Load.From(await LoadAsync(folder, cluster, ["sync", "--secs", seconds], cancellationToken));
            cpu = cluster.CpuSeconds() - cpu;

            await Task.Delay(IdleAfter, cancellationToken);
            var idle = cluster.CpuSeconds();
            await Task.Delay(TimeSpan.FromSeconds(IdleSeconds), cancellationToken);
            idle = cluster.CpuSeconds() - idle;
            return new Run(healthy, fresh, warm, 1e6 * cpu / warm.Messages, 100 * idle / IdleSeconds);
        }
        finally
        {
            data.Delete(recursive: true);
        }
    }

    /// <summary>Runs a version's own load program; returns the last line that it prints.</summary>
    private static async Task<string> LoadAsync(
        string folder, BrokerCluster cluster, string[] verb, CancellationToken cancellationToken)
    {
        string[] arguments =
        [
            LoadProgram(folder), .. verb, "--addresses", string.Join(',', cluster.Addresses), "--stream", Topic,
        ];
        using var load = Process.Start(new ProcessStartInfo("dotnet", arguments) { RedirectStandardOutput = true })!;
        var text = await load.StandardOutput.ReadToEndAsync(cancellationToken);
        await load.WaitForExitAsync(cancellationToken);
        return load.ExitCode == 0
            ? text.TrimEnd().Split('\n')[^1]
            : throw new InvalidOperationException($"{string.Join(' ', arguments)} ended with {load.ExitCode}.");
    }

    private static string LoadProgram(string folder) => Path.Combine(folder, "Broker.Tests.Benchmarks.dll");

    private readonly record struct Load(long Messages, double Rate, double P50Ms, double P99Ms)
    {
        public static Load From(string line)
        {
            using var json = JsonDocument.Parse(line);
            var root = json.RootElement;
            return new Load(
                root.GetProperty("msgs").GetInt64(),
                root.GetProperty("msgs_per_s").GetDouble(),
                root.GetProperty("us_p50").GetDouble() / 1_000,
                root.GetProperty("us_p99").GetDouble() / 1_000);
        }
    }

    private sealed record Run(
        double HealthySeconds, Load Fresh, Load Warm, double WarmCpuPerMillion, double IdlePercent);
}
