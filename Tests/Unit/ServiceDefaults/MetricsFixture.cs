using System.Buffers;
using System.Diagnostics.Metrics;
using System.Text;
using Broker.ServiceDefaults.Prometheus;
using Microsoft.Extensions.Logging.Abstractions;

namespace Broker.Tests.Unit.ServiceDefaults;

/// <summary>An exporter and a meter of its own that no other test's exporter listens to.</summary>
internal sealed class MetricsFixture : IDisposable
{
    private readonly PrometheusExporter _exporter;

    public MetricsFixture(int maxSeries = 2_000)
    {
        var name = $"Test.{Guid.NewGuid():N}";
        Meter = new Meter(name);
        _exporter = new PrometheusExporter(
            new PrometheusOptions { Meters = [name], MaxSeriesPerMetric = maxSeries },
            meters: null,
            NullLogger<PrometheusExporter>.Instance);
        _exporter.Start();
    }

    public Meter Meter { get; }

    public string Scrape()
    {
        var text = new ArrayBufferWriter<byte>();
        _exporter.Write(text);
        return Encoding.UTF8.GetString(text.WrittenSpan);
    }

    public void Dispose()
    {
        _exporter.Dispose();
        Meter.Dispose();
    }
}
