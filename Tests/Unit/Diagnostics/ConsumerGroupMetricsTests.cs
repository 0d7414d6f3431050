using System.Diagnostics.Metrics;
using Broker.Diagnostics;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Diagnostics;

public sealed class ConsumerGroupMetricsTests : IDisposable
{
    private readonly Meter _meter = new("Broker.Tests.Groups");
    private readonly ConsumerGroupMetrics _metrics;

    public ConsumerGroupMetricsTests() => _metrics = new ConsumerGroupMetrics(_meter);

    public void Dispose() => _meter.Dispose();

    [Fact]
    public void Every_figure_is_measured_under_its_name_and_its_group()
    {
        var counts = _metrics.Of(1, "g");
        counts.AddDelivered(5, again: false);
        counts.AddDelivered(2, again: true);
        counts.AddSettled(acked: 10, nacked: 20, lapsed: 30, deadLettered: 40, expired: 50);

        // The same group in two shards.
        _metrics.Observe(() =>
        [
            new ConsumerGroupFigures("g", 100, 10, 1, TimeSpan.FromSeconds(1.5)),
            new ConsumerGroupFigures("g", 200, 20, 2, TimeSpan.FromSeconds(60)),
        ]);
        string[] expected =
        [
            "broker.groups.delivered.records g 7",
            "broker.groups.redelivered.records g 2",
            "broker.groups.acked.records g 10",
            "broker.groups.nacked.records g 20",
            "broker.groups.lapsed.records g 30",
            "broker.groups.dead_lettered.records g 40",
            "broker.groups.expired.records g 50",
            "broker.groups.lag g 300",
            "broker.groups.outstanding g 30",
            "broker.groups.delayed g 3",
            "broker.groups.oldest.age g 60",
        ];
        Assert.Equal(expected.Order(), Measure().Order());
    }

    [Fact]
    public void Groups_beyond_the_first_ones_share_series_until_one_of_those_is_deleted()
    {
        for (var number = 1; number <= Limits.GroupsWithSeries + 2; number++)
        {
            _metrics.Of(number, $"g{number}").AddDelivered(1, again: false);
        }

        var last = $"g{Limits.GroupsWithSeries + 2}";
        _metrics.Observe(() =>
        [
            new ConsumerGroupFigures("g1", 5, 0, 0, TimeSpan.Zero),
            new ConsumerGroupFigures($"g{Limits.GroupsWithSeries + 1}", 6, 0, 0, TimeSpan.Zero),
            new ConsumerGroupFigures(last, 7, 0, 0, TimeSpan.Zero),
        ]);
        var measured = Measure();
        Assert.Equal(
            Limits.GroupsWithSeries + 1,
            measured.Count(static each => each.StartsWith("broker.groups.delivered", StringComparison.Ordinal)));
        Assert.Contains("broker.groups.delivered.records g1 1", measured);
        Assert.Contains("broker.groups.delivered.records $others 2", measured);
        Assert.Contains("broker.groups.lag g1 5", measured);
        Assert.Contains("broker.groups.lag $others 13", measured);

        // Another group of its name has come meanwhile: that one stays.
        _metrics.Of(1_000, "g2").AddDelivered(1, again: false);
        _metrics.Forget(2, "g2");
        _metrics.Forget(1, "g1");
        _metrics.Of(1_001, "new").AddDelivered(1, again: false);
        measured = Measure();
        Assert.Contains("broker.groups.delivered.records g2 2", measured);
        Assert.Contains("broker.groups.delivered.records new 1", measured);
        Assert.DoesNotContain("broker.groups.delivered.records g1 1", measured);
    }

    private List<string> Measure()
    {
        var measured = new List<string>();
        using var listener = new MeterListener();
        listener.InstrumentPublished = (instrument, each) =>
        {
            if (instrument.Meter == _meter)
            {
                each.EnableMeasurementEvents(instrument);
            }
        };
        listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) =>
            measured.Add($"{instrument.Name} {tags[0].Value} {value}"));
        listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) =>
            measured.Add($"{instrument.Name} {tags[0].Value} {value}"));
        listener.Start();
        listener.RecordObservableInstruments();
        return measured;
    }
}
