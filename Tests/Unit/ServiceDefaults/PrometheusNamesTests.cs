using Broker.ServiceDefaults.Prometheus;
using Xunit;

namespace Broker.Tests.Unit.ServiceDefaults;

public sealed class PrometheusNamesTests
{
    [Theory]
    [InlineData(
        "http.server.request.duration", "s", nameof(MetricKind.Histogram), "http_server_request_duration_seconds")]
    [InlineData("broker.storage.flushed.bytes", "By", nameof(MetricKind.Counter), "broker_storage_flushed_bytes_total")]
    [InlineData("broker.topics.published.messages", "{message}", nameof(MetricKind.Counter),
        "broker_topics_published_messages_total")]
    [InlineData("requests.total", null, nameof(MetricKind.Counter), "requests_total")]
    [InlineData("cache.hit", "1", nameof(MetricKind.Gauge), "cache_hit_ratio")]
    [InlineData("cache.hit", "1", nameof(MetricKind.Counter), "cache_hit_total")]
    [InlineData("disk.speed", "By/s", nameof(MetricKind.Gauge), "disk_speed_bytes_per_second")]
    [InlineData("input.rate", "{message}/s", nameof(MetricKind.Gauge), "input_rate_per_second")]
    [InlineData("9 lives--left", "", nameof(MetricKind.Gauge), "_9_lives_left")]
    [InlineData("odd.unit", "w%x", nameof(MetricKind.Gauge), "odd_unit_w_x")]
    [InlineData("dotnet.thread_pool.thread.count", "{thread}", nameof(MetricKind.Gauge),
        "dotnet_thread_pool_thread_count_current")]
    public void A_metric_is_named_as_the_OpenTelemetry_mapping_says(
        string name, string? unit, string kind, string expected) =>
        Assert.Equal(expected, PrometheusNames.Metric(name, unit, Enum.Parse<MetricKind>(kind)));
}
