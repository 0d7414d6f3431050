using System.CommandLine;
using System.Globalization;
using System.Text;
using Broker.Client;
using Broker.Domain;

namespace Broker.Tests.Benchmarks;

/// <summary>
/// How rate, latency, processor time and memory change with the number of topics, with that of shards, and with what
/// the log holds. Each point has a cluster of its own; where one of the three grows, the others stay as they are by
/// default.
/// </summary>
internal static class ScaleVerb
{
    private const int DefaultTopics = 100;
    private const int DefaultShards = 3;
    private const int FillUnanswered = 16_384;
    private const int LoadUnanswered = 1_024;

    public static Command Create()
    {
        var topics = NumberOption.Many(
            "--topics", [1, 10, 100, 1_000, 10_000], 1, Limits.Topics, "Topics; the log is empty.");
        var shards = NumberOption.Many(
            "--shards", [3, 12, 48], 1, Limits.Shards, $"Shards, with {DefaultTopics} topics.");
        var messages = NumberOption.Many(
            "--messages",
            [0L, 1_000_000, 10_000_000, 50_000_000],
            0,
            1_000_000_000,
            $"Messages of 128 B that the log holds, in {DefaultTopics} topics.");
        var rounds = NumberOption.Rounds(3, "Rounds, each with every point; medians are told.");
        var seconds = NumberOption.Seconds(3, "Seconds of each load.");
        var warm = NumberOption.Make("--warm", 5.0, 0, 600, "Seconds of each load before it is measured.");
        var command = new Command("scale", "Measures a cluster with more topics, more shards, and a longer log.")
        {
            topics, shards, messages, rounds, seconds, warm,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            List<Point> points =
            [
                .. parsed.GetRequiredValue(topics).Select(static count => new Point("topics", count, count)),
                .. parsed.GetRequiredValue(shards).Select(
                    static count => new Point("shards", count, DefaultTopics, Shards: count)),
                .. parsed.GetRequiredValue(messages).Select(
                    static count => new Point("messages", count, DefaultTopics, Messages: count)),
            ];
            var results = points.ToDictionary(static point => point, static _ => new List<Result>());
            for (var round = 0; round < parsed.GetValue(rounds); round++)
            {
                foreach (var point in points)
                {
                    await BrokerCluster.InTemporaryFolderAsync("scale", async folder => results[point].Add(
                        await RunAsync(
                            folder,
                            point,
                            TimeSpan.FromSeconds(parsed.GetValue(warm)),
                            TimeSpan.FromSeconds(parsed.GetValue(seconds)),
                            cancellationToken)));
                    await Console.Error.WriteLineAsync($"Round {round + 1}: {point.Axis} {point.Count:N0}");
                }
            }

            Console.Write(Tell(points, results));
            return 0;
        });
        return command;
    }

    private static async Task<Result> RunAsync(
        string folder, Point point, TimeSpan warm, TimeSpan length, CancellationToken cancellationToken)
    {
        await using var cluster = await BrokerCluster.StartBalancedAsync(
            folder, cancellationToken, ("Broker__DataShards", point.Shards.ToString(CultureInfo.InvariantCulture)));
        var settings = new LoadSettings
        {
            Addresses = cluster.Addresses,
            Topics = [.. Enumerable.Range(0, point.Topics).Select(static number => $"scale.{number:D6}")],
            Window = LoadUnanswered,
            RecordsPerBatch = 1,
            Duration = length,
        };
        await FillAsync(settings, point.Messages, cancellationToken);

        await using var client = settings.Connect();
        if (warm > TimeSpan.Zero)
        {
            await PublishLoad.PipelinedAsync(settings with { Duration = warm }, client, cancellationToken);
            await PublishLoad.OneAtATimeAsync(settings with { Duration = warm }, client, cancellationToken);
        }

        var (many, manyCpu) = await MeasureAsync(PublishLoad.PipelinedAsync);
        var (single, singleCpu) = await MeasureAsync(PublishLoad.OneAtATimeAsync);
        return new Result(
            many.MessagesPerSecond,
            manyCpu,
            single.Latencies!.Microseconds(0.5) / 1e3,
            single.Latencies.Microseconds(0.99) / 1e3,
            singleCpu,
            cluster.MeanMegabytes());

        async Task<(LoadResult Result, double CpuPerMillion)> MeasureAsync(
            Func<LoadSettings, BrokerClient, CancellationToken, Task<LoadResult>> load)
        {
            var cpu = cluster.CpuSeconds();
            var result = await load(settings, client, cancellationToken);
            return result is { Errors: 0, Messages: > 0 }
                ? (result, (cluster.CpuSeconds() - cpu) * 1e6 / result.Messages)
                : throw new InvalidOperationException(
                    $"{result.Errors} publishes failed and {result.Messages} did not, with {point}.");
        }
    }

    private static async Task FillAsync(LoadSettings settings, long messages, CancellationToken cancellationToken)
    {
        await using var client = new BrokerClient(new BrokerClientOptions { Addresses = settings.Addresses });
        await PublishLoad.MakeTopicsAsync(client, settings.Topics, cancellationToken);
        var message = new BrokerMessage { Value = PublishLoad.Payload(settings.SizeBytes) };
        await PublishLoad.AllAsync(messages, FillUnanswered, number => client.PublishAsync(
            settings.Topics[(int)(number % settings.Topics.Count)], message, cancellationToken));
    }

    private static string Tell(List<Point> points, Dictionary<Point, List<Result>> results)
    {
        var text = new StringBuilder();
        text.AppendLine(
            "| grows | to | 1,024 unanswered, msgs/s (least..most) | server CPU s/1M | one at a time, p50 ms | p99 ms "
            + "| server CPU s/1M | memory of a node MB |");
        text.AppendLine("|---|---|---|---|---|---|---|---|");
        foreach (var point in points)
        {
            var of = results[point];
            double Median(Func<Result, double> figure) => ResultTable.Median(of.Select(figure));
            text.AppendLine(string.Create(
                CultureInfo.InvariantCulture,
                $"| {point.Axis} | {point.Count:N0} | {Median(static each => each.Rate):N0} "
                + $"({of.Min(static each => each.Rate):N0}..{of.Max(static each => each.Rate):N0}) "
                + $"| {Median(static each => each.RateCpu):N1} | {Median(static each => each.P50):N2} "
                + $"| {Median(static each => each.P99):N2} | {Median(static each => each.SingleCpu):N0} "
                + $"| {Median(static each => each.Megabytes):N0} |"));
        }

        foreach (var axis in points.GroupBy(static point => point.Axis))
        {
            Plot(text, axis, "1,024 unanswered, 1,000 msgs/s", static each => each.Rate / 1e3);
            Plot(text, axis, "one at a time, p50 µs", static each => each.P50 * 1e3);
            Plot(text, axis, "memory of a node, MB", static each => each.Megabytes);
        }

        return text.ToString();

        void Plot(
            StringBuilder into, IGrouping<string, Point> axis, string title, Func<Result, double> figure)
        {
            // A block that GitHub and others draw (mermaid, xychart), so that the plot is text beside its table.
            var values = axis.Select(point => ResultTable.Median(results[point].Select(figure))).ToList();
            into.AppendLine(string.Create(
                CultureInfo.InvariantCulture,
                $$"""

                ```mermaid
                %%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#1f6feb"} } } }%%
                xychart-beta
                    title "{{title}}"
                    x-axis "{{axis.Key}}" [{{string.Join(", ", axis.Select(Name))}}]
                    y-axis 0 --> {{values.Max() * 1.1:0}}
                    line [{{string.Join(", ", values.Select(Number))}}]
                ```
                """));
        }
    }

    private static string Name(Point point) => string.Create(CultureInfo.InvariantCulture, $"\"{point.Count:N0}\"");

    private static string Number(double value) => value.ToString("0", CultureInfo.InvariantCulture);

    private sealed record Point(
        string Axis, long Count, int Topics, int Shards = DefaultShards, long Messages = 0);

    private sealed record Result(
        double Rate, double RateCpu, double P50, double P99, double SingleCpu, double Megabytes);
}
