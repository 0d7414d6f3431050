namespace Broker.ServiceDefaults.Prometheus;

/// <summary>What the exporter listens to, and its bounds.</summary>
public sealed record PrometheusOptions
{
    /// <summary>Meters by name; a trailing '*' stands for the rest of the name.</summary>
    public IReadOnlyList<string> Meters { get; init; } = [];

    /// <summary>
    /// Label sets of one metric; further ones are counted together in one series that is labelled otel_metric_overflow,
    /// as OpenTelemetry's SDK does (its default, too). A scrape of this many series stays below about 200 KiB a metric.
    /// </summary>
    public int MaxSeriesPerMetric { get; init; } = 2_000;

    /// <summary>
    /// Metrics of one process: several times what the runtime, ASP.NET Core, Npgsql and the broker have together.
    /// </summary>
    public int MaxMetrics { get; init; } = 1_000;

    /// <summary>Characters of one label's value; what is longer is cut.</summary>
    public int MaxLabelValueLength { get; init; } = 1_024;

    internal bool Wants(string meter)
    {
        foreach (var pattern in Meters)
        {
            var matches = pattern.EndsWith('*')
                ? meter.AsSpan().StartsWith(pattern.AsSpan(0, pattern.Length - 1), StringComparison.OrdinalIgnoreCase)
                : string.Equals(meter, pattern, StringComparison.OrdinalIgnoreCase);
            if (matches)
            {
                return true;
            }
        }

        return false;
    }
}
