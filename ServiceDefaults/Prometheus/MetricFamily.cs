using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using Tag = System.Collections.Generic.KeyValuePair<string, object?>;

namespace Broker.ServiceDefaults.Prometheus;

/// <summary>
/// One Prometheus metric: all series of its name. Instruments of several meters that have the same name and kind share
/// it. A measurement finds its series without a lock and without allocation; only a new series takes the lock.
/// </summary>
internal sealed class MetricFamily
{
    /// <summary>The SDK's own defaults: for durations in seconds, and for everything else.</summary>
    private static readonly double[] SecondsBounds =
        [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

    private static readonly double[] OtherBounds =
        [0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000];

    private readonly PrometheusOptions _options;
    private readonly double[] _bounds;
    private readonly bool _sums;
    private readonly bool _observed;
    private readonly ConcurrentDictionary<Tag[], MetricSeries> _byTags = new(TagsComparer.Instance);
    private readonly ConcurrentDictionary<Tag[], MetricSeries>.AlternateLookup<ReadOnlySpan<Tag>> _lookup;
    private readonly Lock _lock = new();

    /// <summary>
    /// Guarded by the lock. The keys are label texts; several orders of the same tags lead to one series.
    /// </summary>
    private readonly SortedDictionary<string, MetricSeries> _byLabels = new(StringComparer.Ordinal);

    /// <summary>Entries of _byTags, whose own Count takes all of its locks. Written under the lock.</summary>
    private int _tagSets;
    private MetricSeries? _untagged;
    private MetricSeries? _overflow;
    private long _overflowed;
    private int _scrape;

    public MetricFamily(string name, MetricKind kind, Instrument instrument, PrometheusOptions options)
    {
        Name = name;
        Kind = kind;
        Help = string.IsNullOrWhiteSpace(instrument.Description) ? instrument.Name : instrument.Description;
        _options = options;
        _observed = instrument.IsObservable;
        _sums = kind != MetricKind.Histogram && !_observed && !IsGauge(instrument);
        _bounds = kind == MetricKind.Histogram ? Bounds(instrument) : [];
        _lookup = _byTags.GetAlternateLookup<ReadOnlySpan<Tag>>();
    }

    public string Name { get; }

    public MetricKind Kind { get; }

    public string Help { get; }

    /// <summary>Instruments that feed it; guarded by the exporter's lock.</summary>
    public int Instruments { get; set; }

    /// <summary>Measurements that went to the overflow series.</summary>
    public long Overflowed => Interlocked.Read(ref _overflowed);

    public static MetricKind? KindOf(Instrument instrument)
    {
        var type = instrument.GetType();
        var definition = type.IsGenericType ? type.GetGenericTypeDefinition() : null;
        if (definition == typeof(Counter<>) || definition == typeof(ObservableCounter<>))
        {
            return MetricKind.Counter;
        }

        if (definition == typeof(Histogram<>))
        {
            return MetricKind.Histogram;
        }

        return definition == typeof(UpDownCounter<>) || definition == typeof(ObservableUpDownCounter<>)
            || definition == typeof(Gauge<>) || definition == typeof(ObservableGauge<>)
            ? MetricKind.Gauge
            : null;
    }

    public bool Matches(MetricKind kind, Instrument instrument) =>
        kind == Kind && instrument.IsObservable == _observed
        && (kind != MetricKind.Gauge || _observed || _sums != IsGauge(instrument));

    public void Record(long value, ReadOnlySpan<Tag> tags) => Find(tags).Record(value);

    public void Record(double value, ReadOnlySpan<Tag> tags) => Find(tags).Record(value);

    /// <summary>
    /// Observable instruments say at each scrape what exists; what they no longer name is forgotten afterwards.
    /// </summary>
    public void BeginScrape(int scrape) => _scrape = scrape;

    public void Write(PrometheusText text)
    {
        lock (_lock)
        {
            if (_observed)
            {
                ForgetUnobserved();
            }

            if (_byLabels.Count == 0)
            {
                return;
            }

            text.Header(Name, Kind, Help);
            foreach (var series in _byLabels.Values)
            {
                series.Write(text, Name);
            }
        }
    }

    private static bool IsGauge(Instrument instrument) =>
        instrument.GetType().GetGenericTypeDefinition() == typeof(Gauge<>);

    private static double[] Bounds(Instrument instrument)
    {
        var advised = instrument switch
        {
            Histogram<double> histogram => histogram.Advice?.HistogramBucketBoundaries?.ToArray(),
            Histogram<float> histogram => Doubles(histogram.Advice?.HistogramBucketBoundaries),
            Histogram<long> histogram => Doubles(histogram.Advice?.HistogramBucketBoundaries),
            Histogram<int> histogram => Doubles(histogram.Advice?.HistogramBucketBoundaries),
            Histogram<short> histogram => Doubles(histogram.Advice?.HistogramBucketBoundaries),
            Histogram<byte> histogram => Doubles(histogram.Advice?.HistogramBucketBoundaries),
            Histogram<decimal> histogram => Doubles(histogram.Advice?.HistogramBucketBoundaries),
            _ => null,
        };
        return advised ?? (instrument.Unit == "s" ? SecondsBounds : OtherBounds);
    }

    private static double[]? Doubles<T>(IReadOnlyList<T>? bounds)
        where T : struct, System.Numerics.INumber<T> => bounds?.Select(double.CreateChecked).ToArray();

    private MetricSeries Find(ReadOnlySpan<Tag> tags)
    {
        MetricSeries? series;
        if (tags.IsEmpty)
        {
            series = _untagged ?? Create(tags);
        }
        else if (!_lookup.TryGetValue(tags, out series))
        {
            series = Create(tags);
        }

        if (_observed)
        {
            series.ObservedAt = _scrape;
        }

        if (ReferenceEquals(series, _overflow))
        {
            Interlocked.Increment(ref _overflowed);
        }

        return series;
    }

    private MetricSeries Create(ReadOnlySpan<Tag> tags)
    {
        // Full: nothing can be added, so nothing has to be looked up. Two orders of the same tags count twice.
        if (Volatile.Read(ref _tagSets) >= _options.MaxSeriesPerMetric && !tags.IsEmpty)
        {
            return Overflow();
        }

        var labels = LabelText.Of(tags, _options.MaxLabelValueLength, Kind == MetricKind.Histogram);
        lock (_lock)
        {
            if (!_byLabels.TryGetValue(labels, out var series))
            {
                series = New(labels);
                _byLabels.Add(labels, series);
            }

            if (tags.IsEmpty)
            {
                _untagged = series;
            }
            else if (_byTags.TryAdd(tags.ToArray(), series))
            {
                _tagSets++;
            }

            return series;
        }
    }

    private MetricSeries Overflow()
    {
        lock (_lock)
        {
            if (_overflow is null)
            {
                _overflow = New(LabelText.Overflow);
                _byLabels[LabelText.Overflow] = _overflow;
            }

            return _overflow;
        }
    }

    private MetricSeries New(string labels) => Kind switch
    {
        MetricKind.Histogram => new HistogramSeries(labels, _bounds),
        _ when _sums => new SumSeries(labels),
        _ => new LastSeries(labels),
    };

    private void ForgetUnobserved()
    {
        foreach (var (labels, series) in _byLabels.Where(pair => pair.Value.ObservedAt != _scrape).ToArray())
        {
            _byLabels.Remove(labels);
            _untagged = ReferenceEquals(_untagged, series) ? null : _untagged;
            _overflow = ReferenceEquals(_overflow, series) ? null : _overflow;
        }

        foreach (var (tags, series) in _byTags)
        {
            if (series.ObservedAt != _scrape && _byTags.TryRemove(tags, out _))
            {
                _tagSets--;
            }
        }
    }
}
