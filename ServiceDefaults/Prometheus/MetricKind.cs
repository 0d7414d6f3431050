namespace Broker.ServiceDefaults.Prometheus;

/// <summary>The types of the text format that the exporter writes.</summary>
internal enum MetricKind
{
    Counter,
    Gauge,
    Histogram,
}
