using System.Globalization;
using System.Text;

namespace Broker.Tests.Benchmarks;

/// <summary>Collects rounds and tells their medians, in Markdown.</summary>
/// <param name="heading">Above the names; where it has several columns, so has each name.</param>
internal sealed class ResultTable(string heading = "measure")
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
            $"| {heading} | msgs/s, median (least..most) | MB/s | p50 ms | p99 ms | server CPU s/1M | failed "
            + "| missing |");
        text.Insert(text.Length, "|---", heading.Count('|') + 8).AppendLine("|");
        foreach (var rows in _rows.GroupBy(row => row.Name))
        {
            var rates = rows.Select(row => row.Result.MessagesPerSecond).Order().ToList();
            var latencies = rows.Where(row => row.Result.Latencies is not null).ToList();
            text.AppendLine(string.Create(
                CultureInfo.InvariantCulture,
                $"| {rows.Key} | {Median(rates):N0} ({rates[0]:N0}..{rates[^1]:N0}) "
                + $"| {Median(rows.Select(r => r.Result.MegabytesPerSecond)):N0} | {Quantile(0.5)} | {Quantile(0.99)} "
                + $"| {Median(rows.Select(CpuPerMillion)):N1} | {rows.Sum(r => r.Result.Errors)} | "
                + $"{rows.Sum(r => r.Missing)} |"));

            string Quantile(double quantile) => latencies.Count == 0
                ? "–"
                : Median(latencies.Select(r => r.Result.Latencies!.Microseconds(quantile) / 1e3))
                    .ToString("N2", CultureInfo.InvariantCulture);
        }

        return text.ToString();
    }

    private static double CpuPerMillion((string Name, LoadResult Result, double CpuSeconds, long Missing) row) =>
        row.Result.Messages == 0 ? 0 : row.CpuSeconds * 1e6 / row.Result.Messages;

    public static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToList();
        return (sorted[(sorted.Count - 1) / 2] + sorted[sorted.Count / 2]) / 2;
    }
}
