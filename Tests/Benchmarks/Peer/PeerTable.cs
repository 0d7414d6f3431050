using System.Globalization;
using System.Text;

namespace Broker.Tests.Benchmarks.Peer;

/// <summary>Collects what each log did under each load, and tells it side by side, in Markdown.</summary>
internal sealed class PeerTable(IReadOnlyList<string> logs)
{
    private readonly List<(string Log, string Load, LoadResult Result)> _loads = [];
    private readonly List<(string Log, string Load, KillResult Result)> _kills = [];

    public void Add(string log, string load, LoadResult result) => _loads.Add((log, load, result));

    public void Add(string log, string load, KillResult result) => _kills.Add((log, load, result));

    /// <summary>Records that a log has acknowledged and lost.</summary>
    public long Gone(string log) => _kills.Where(kill => kill.Log == log).Sum(kill => kill.Result.Gone);

    public string ToMarkdown()
    {
        var text = new StringBuilder();
        text.AppendLine(CultureInfo.InvariantCulture, $"| | {string.Join(" | ", logs)} |");
        text.AppendLine($"|---|{string.Concat(Enumerable.Repeat("---|", logs.Count))}");
        foreach (var rows in _loads.GroupBy(row => row.Load).OrderBy(rows => rows.First().Result.Gap is not null))
        {
            if (rows.First().Result.Gap is not null)
            {
                Row($"{rows.Key}, ms", rows, Silence);
                continue;
            }

            Row($"{rows.Key}, records/s", rows, Rate);
            if (rows.First().Result.Window == 1)
            {
                Row($"{rows.Key}, p50 / p99 ms", rows, Latency);
            }
        }

        if (_loads.Count > 0)
        {
            Row("publishes that failed in these loads", _loads, all => $"{all.Sum(row => row.Result.Errors):N0}");
        }

        foreach (var kills in _kills.GroupBy(kill => kill.Load))
        {
            Row(kills.Key, kills, Losses);
        }

        return text.ToString();

        void Row<TResult>(
            string name,
            IEnumerable<(string Log, string Load, TResult Result)> rows,
            Func<List<(string Log, string Load, TResult Result)>, string> tell)
        {
            var cells = logs.Select(log => rows.Where(row => row.Log == log).ToList())
                .Select(of => of.Count == 0 ? "–" : tell(of));
            text.AppendLine(CultureInfo.InvariantCulture, $"| {name} | {string.Join(" | ", cells)} |");
        }
    }

    private static string Rate(List<(string Log, string Load, LoadResult Result)> rows) =>
        Spread(rows.Select(row => row.Result.MessagesPerSecond));

    private static string Silence(List<(string Log, string Load, LoadResult Result)> rows) =>
        Spread(rows.Select(row => row.Result.Gap!.Value.LengthMs));

    private static string Latency(List<(string Log, string Load, LoadResult Result)> rows)
    {
        return $"{Milliseconds(0.5):N2} / {Milliseconds(0.99):N2}";

        double Milliseconds(double quantile) =>
            ResultTable.Median(rows.Select(row => row.Result.Latencies!.Microseconds(quantile) / 1e3));
    }

    private static string Losses(List<(string Log, string Load, KillResult Result)> rows) =>
        $"{rows.Sum(row => row.Result.Gone):N0} of {rows.Sum(row => row.Result.Acknowledged):N0} "
        + $"({rows.Count(row => row.Result.Gone > 0)} of {rows.Count} kills)";

    private static string Spread(IEnumerable<double> values)
    {
        var sorted = values.Order().ToList();
        return $"{ResultTable.Median(sorted):N0} ({sorted[0]:N0}..{sorted[^1]:N0})";
    }
}
