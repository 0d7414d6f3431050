using System.Buffers;
using System.Diagnostics.Metrics;
using System.Text;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.ServiceDefaults.Prometheus;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Broker.Tests.Unit.Diagnostics;

public sealed class BrokerMetricsTests : IDisposable
{
    private readonly ServiceProvider _services = new ServiceCollection().AddMetrics().BuildServiceProvider();
    private readonly PrometheusExporter _exporter;
    private readonly BrokerMetrics _metrics;

    public BrokerMetricsTests()
    {
        var factory = _services.GetRequiredService<IMeterFactory>();
        _exporter = new PrometheusExporter(
            new PrometheusOptions { Meters = ["Broker.*"] }, factory, NullLogger<PrometheusExporter>.Instance);
        _exporter.Start();
        _metrics = new BrokerMetrics(factory);
    }

    public void Dispose()
    {
        _metrics.Dispose();
        _exporter.Dispose();
        _services.Dispose();
    }

    [Fact]
    public void Every_figure_reaches_the_scrape_under_its_Prometheus_name()
    {
        _metrics.Published(3, 400);
        _metrics.Queued(5);
        _metrics.Dequeued(2);
        _metrics.Committed(TimeSpan.FromMilliseconds(0.15));
        _metrics.BecameLeader();
        _metrics.Flushed(4096, TimeSpan.FromSeconds(1));
        _metrics.PeerBytesSent(7);
        _metrics.PeerBytesReceived(8);
        _metrics.PeerMessageDropped();
        _metrics.PeerRedialed();
        _metrics.ObserveLive(() => new LiveFigures(1, 4));
        _metrics.Read(6, 60);
        _metrics.Refused(RefusalCode.NotLeader);

        string[] expected =
        [
            "broker_topics_published_messages_total 3",
            "broker_topics_published_bytes_total 400",
            "broker_replication_queue_length 3",
            "broker_replication_commit_duration_seconds_bucket{le=\"0.0001\"} 0",
            "broker_replication_commit_duration_seconds_bucket{le=\"0.0002\"} 1",
            "broker_consensus_elections_total 1",
            "broker_storage_flushes_total 1",
            "broker_storage_flushed_bytes_total 4096",
            "broker_storage_flush_duration_seconds_sum 1",
            "broker_transport_sent_bytes_total 7",
            "broker_transport_received_bytes_total 8",
            "broker_transport_reconnects_total 1",
            "broker_transport_dropped_messages_total 1",
            "broker_delivery_live_published_total 1",
            "broker_delivery_live_dropped_total 4",
            "broker_delivery_read_messages_total 6",
            "broker_delivery_read_bytes_total 60",
            "broker_api_refused_total{code=\"NotLeader\"} 1",
        ];
        var lines = Scrape().Split('\n');
        Assert.All(expected, line => Assert.Contains(line, lines));
    }

    [Fact]
    public void Groups_are_observed_once_their_source_is_known()
    {
        Assert.DoesNotContain("broker_consensus_term", Scrape(), StringComparison.Ordinal);
        _metrics.ObserveGroups(
            () => [new GroupFigures(0, 5, 2, 1, 100, 99, 101), new GroupFigures(1, 6, 0, 0, 7, 7, 7)]);

        string[] expected =
        [
            "broker_consensus_term{group=\"0\"} 5",
            "broker_consensus_term{group=\"1\"} 6",
            "broker_consensus_leader{group=\"0\"} 2",
            "broker_consensus_role{group=\"0\"} 1",
            "broker_consensus_commit_index{group=\"0\"} 100",
            "broker_consensus_applied_index{group=\"0\"} 99",
            "broker_consensus_last_index{group=\"0\"} 101",
        ];
        var lines = Scrape().Split('\n');
        Assert.All(expected, line => Assert.Contains(line, lines));
    }

    [Fact]
    public void Every_refusal_code_can_be_counted()
    {
        foreach (var code in Enum.GetValues<RefusalCode>())
        {
            _metrics.Refused(code);
        }

        Assert.Contains("code=\"ProducerFenced\"", Scrape(), StringComparison.Ordinal);
    }

    private string Scrape()
    {
        var text = new ArrayBufferWriter<byte>();
        _exporter.Write(text);
        return Encoding.UTF8.GetString(text.WrittenSpan);
    }
}
