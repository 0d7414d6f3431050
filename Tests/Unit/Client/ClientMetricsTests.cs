using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using Broker.Client;
using Broker.Client.Handling;
using Xunit;
using static Broker.Tests.Unit.Client.ClientTesting;

namespace Broker.Tests.Unit.Client;

/// <summary>The figures of the client library have the names that OpenTelemetry's messaging conventions give.</summary>
public sealed class ClientMetricsTests
{
    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_publish_is_counted_with_its_duration_and_its_broker_and_a_read_with_its_messages()
    {
        await using var cluster = await FakeCluster.StartAsync();
        using var figures = new Figures();
        await using var client = Connect(cluster);
        await client.PublishAsync("t", Message("x"), Test);
        await foreach (var record in client.ReadAsync("t", cancellationToken: Test))
        {
            Assert.Equal(0, record.Offset);
        }

        var port = cluster.Nodes[0].Address.Port;
        await Until(() => figures.Of("messaging.client.consumed.messages").Any(), "the read is counted");
        var sent = figures.Of("messaging.client.sent.messages").Single(f => f.Tag("server.port") == $"{port}");
        Assert.Equal(("{message}", 1.0), (sent.Unit, sent.Value));
        Assert.Equal("broker", sent.Tag("messaging.system"));
        Assert.Equal("publish", sent.Tag("messaging.operation.name"));
        Assert.Equal("127.0.0.1", sent.Tag("server.address"));
        Assert.Null(sent.Tag("error.type"));
        var duration = figures.Of("messaging.client.operation.duration")
            .Single(f => f.Tag("server.port") == $"{port}");
        Assert.Equal("s", duration.Unit);
        Assert.InRange(duration.Value, 0.000_001, 60);
        Assert.Equal(("publish", "send"), (duration.Tag("messaging.operation.name"), duration.Tag(
            "messaging.operation.type")));
        Assert.Equal(
            [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10], duration.Boundaries);
        Assert.Contains(
            figures.Of("messaging.client.consumed.messages"), f => f.Tag("messaging.operation.name") == "receive");
    }

    [Fact]
    public async Task A_publish_that_fails_says_why_and_one_that_was_never_sent_is_not_counted()
    {
        await using var cluster = await FakeCluster.StartAsync();
        cluster.Nodes[0].Always = Fault.RefuseInvalid;
        using var figures = new Figures();
        await using var client = Connect(cluster);
        await Assert.ThrowsAsync<BrokerClientException>(async () => await client.PublishAsync("t", Message("x"), Test));

        var port = cluster.Nodes[0].Address.Port;
        var failed = figures.Of("messaging.client.sent.messages").Single(f => f.Tag("server.port") == $"{port}");
        Assert.Equal("InvalidArgument", failed.Tag("error.type"));
    }

    [Fact]
    public void A_handler_is_measured_for_its_group()
    {
        using var figures = new Figures();
        HandlerMetrics.Processed("billing-of-this-test", TimeSpan.FromMilliseconds(20), failure: null);
        HandlerMetrics.Processed("billing-of-this-test", TimeSpan.FromMilliseconds(30), new FormatException("x"));

        var both = figures.Of("messaging.process.duration")
            .Where(f => f.Tag("messaging.consumer.group.name") == "billing-of-this-test").ToList();
        Assert.Equal([0.02, 0.03], both.Select(f => f.Value));
        Assert.All(both, f => Assert.Equal(("s", "process"), (f.Unit, f.Tag("messaging.operation.name"))));
        Assert.Equal([null, "FormatException"], both.Select(f => f.Tag("error.type")));
    }

    private sealed record Figure(
        string Name, string? Unit, double Value, Dictionary<string, string?> Tags, IReadOnlyList<double>? Boundaries)
    {
        public string? Tag(string name) => Tags.GetValueOrDefault(name);
    }

    /// <summary>All that the meters of the client library tell; other tests' clients, too.</summary>
    private sealed class Figures : IDisposable
    {
        private readonly ConcurrentQueue<Figure> _all = new();
        private readonly MeterListener _listener = new();

        public Figures()
        {
            _listener.InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Name == "Broker.Client")
                {
                    listener.EnableMeasurementEvents(instrument);
                }
            };
            _listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => Add(instrument, value, tags));
            _listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Add(instrument, value, tags));
            _listener.Start();
        }

        public IEnumerable<Figure> Of(string name) => _all.Where(figure => figure.Name == name);

        public void Dispose() => _listener.Dispose();

        private void Add(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags) =>
            _all.Enqueue(new Figure(
                instrument.Name,
                instrument.Unit,
                value,
                tags.ToArray().ToDictionary(static tag => tag.Key, static tag => tag.Value?.ToString()),
                (instrument as Instrument<double>)?.Advice?.HistogramBucketBoundaries));
    }
}
