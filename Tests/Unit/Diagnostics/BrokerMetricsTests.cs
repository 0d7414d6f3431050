using System.Diagnostics.Metrics;
using System.Globalization;
using Broker.Diagnostics;
using Broker.Domain;
using Microsoft.Extensions.DependencyInjection;
using Xunit;

namespace Broker.Tests.Unit.Diagnostics;

/// <summary>
/// Listens to the meter of these metrics alone: other tests of the process have meters of the same name.
/// </summary>
public sealed class BrokerMetricsTests : IDisposable
{
    private readonly ServiceProvider _services = new ServiceCollection().AddMetrics().BuildServiceProvider();
    private readonly MeterListener _listener = new();
    private readonly Dictionary<string, double> _sums = [];
    private readonly BrokerMetrics _metrics;

    public BrokerMetricsTests()
    {
        var factory = _services.GetRequiredService<IMeterFactory>();
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            if (instrument.Meter.Scope == factory)
            {
                listener.EnableMeasurementEvents(instrument);
            }
        };
        _listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => Add(instrument, value, tags));
        _listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Add(instrument, value, tags));
        _listener.Start();
        _metrics = new BrokerMetrics(factory);
    }

    public void Dispose()
    {
        _metrics.Dispose();
        _listener.Dispose();
        _services.Dispose();
    }

    [Fact]
    public void Every_figure_is_measured_under_its_name()
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
            "broker.topics.published.messages 3",
            "broker.topics.published.bytes 400",
            "broker.replication.queue.length 3",
            "broker.replication.commit.duration 0.00015",
            "broker.consensus.elections 1",
            "broker.storage.flushes 1",
            "broker.storage.flushed.bytes 4096",
            "broker.storage.flush.duration 1",
            "broker.transport.sent.bytes 7",
            "broker.transport.received.bytes 8",
            "broker.transport.reconnects 1",
            "broker.transport.dropped.messages 1",
            "broker.delivery.live.published 1",
            "broker.delivery.live.dropped 4",
            "broker.delivery.read.messages 6",
            "broker.delivery.read.bytes 60",
            "broker.api.refused{code=NotLeader} 1",
        ];
        var figures = Measure();
        Assert.All(expected, figure => Assert.Contains(figure, figures));
    }

    [Fact]
    public void Groups_are_observed_once_their_source_is_known()
    {
        Assert.DoesNotContain(
            Measure(), figure => figure.StartsWith("broker.consensus.term", StringComparison.Ordinal));
        _metrics.ObserveGroups(
            () => [new GroupFigures(0, 5, 2, 1, 100, 99, 101), new GroupFigures(1, 6, 0, 0, 7, 7, 7)]);

        string[] expected =
        [
            "broker.consensus.term{group=0} 5",
            "broker.consensus.term{group=1} 6",
            "broker.consensus.leader{group=0} 2",
            "broker.consensus.role{group=0} 1",
            "broker.consensus.commit.index{group=0} 100",
            "broker.consensus.applied.index{group=0} 99",
            "broker.consensus.last.index{group=0} 101",
        ];
        var figures = Measure();
        Assert.All(expected, figure => Assert.Contains(figure, figures));
    }

    [Fact]
    public void Every_refusal_code_can_be_counted()
    {
        foreach (var code in Enum.GetValues<RefusalCode>())
        {
            _metrics.Refused(code);
        }

        Assert.Contains("broker.api.refused{code=ProducerFenced} 1", Measure());
    }

    /// <summary>E.g. <c>broker.api.refused{code=NotLeader} 1</c>: sums, and what is observed now.</summary>
    private List<string> Measure()
    {
        _listener.RecordObservableInstruments();
        return [.. _sums.Select(one => string.Create(CultureInfo.InvariantCulture, $"{one.Key} {one.Value}"))];
    }

    private void Add(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        var labels = string.Join(',', tags.ToArray().Select(tag => $"{tag.Key}={tag.Value}"));
        var name = labels.Length == 0 ? instrument.Name : $"{instrument.Name}{{{labels}}}";
        _sums[name] = instrument.IsObservable ? value : _sums.GetValueOrDefault(name) + value;
    }
}
