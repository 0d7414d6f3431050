using System.Globalization;
using System.Text;

namespace Broker.Tests.Benchmarks;

/// <summary>Collects rounds and tells their medians, in Markdown.</summary>
/// <param name="heading">Above the names; where it has several columns, so has each name.</param>
/// <param name="tellsClient">Also what the client library costs, of which this process has nothing else to do.</param>
internal sealed class ResultTable(string heading = "measure", bool tellsClient = false)
{
    private readonly List<(string Name, LoadResult Result, double CpuSeconds, long Missing)> _rows = [];

    public int Count => _rows.Count;

    public long Missing => _rows.Sum(row => row.Missing);

    public void Add(string name, LoadResult result, double cpuSeconds, long missing) =>
        _rows.Add((name, result, cpuSeconds, missing));

    public string ToMarkdown()
    {
        var text = new StringBuilder();
        text.AppendLine(
            $"| {heading} | msgs/s, median (least..most) | MB/s | p50 ms | p99 ms | server CPU s/1M "
            + $"{(tellsClient ? "| client CPU s/1M | client bytes allocated a message " : "")}| failed | missing |");
        text.Insert(text.Length, "|---", heading.Count('|') + (tellsClient ? 10 : 8)).AppendLine("|");
        foreach (var rows in _rows.GroupBy(row => row.Name))
        {
            var rates = rows.Select(row => row.Result.MessagesPerSecond).Order().ToList();
            var latencies = rows.Where(row => row.Result.Latencies is not null).ToList();
            text.AppendLine(string.Create(
                CultureInfo.InvariantCulture,
                $"| {rows.Key} | {Median(rates):N0} ({rates[0]:N0}..{rates[^1]:N0}) "
                + $"| {Median(rows.Select(r => r.Result.MegabytesPerSecond)):N0} | {Quantile(0.5)} | {Quantile(0.99)} "
                + $"| {Median(rows.Select(row => CpuPerMillion(row.CpuSeconds, row.Result))):N1} "
                + $"{(tellsClient ? Client(rows.Select(static row => row.Result)) : "")}"
                + $"| {rows.Sum(r => r.Result.Errors)} | {rows.Sum(r => r.Missing)} |"));

            string Quantile(double quantile) => latencies.Count == 0
                ? "–"
                : Median(latencies.Select(r => r.Result.Latencies!.Microseconds(quantile) / 1e3))
                    .ToString("N2", CultureInfo.InvariantCulture);
        }

        return text.ToString();
    }

    private static string Client(IEnumerable<LoadResult> results) => string.Create(
        CultureInfo.InvariantCulture,
        $"| {Median(results.Select(static result => CpuPerMillion(result.ClientCpuSeconds, result))):N1} "
        + $"| {Median(results.Select(static result => result.AllocatedBytesPerMessage ?? 0)):N0} ");

    private static double CpuPerMillion(double cpuSeconds, LoadResult result) =>
        result.Messages == 0 ? 0 : cpuSeconds * 1e6 / result.Messages;

    public static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToList();
        return (sorted[(sorted.Count - 1) / 2] + sorted[sorted.Count / 2]) / 2;
    }
}
