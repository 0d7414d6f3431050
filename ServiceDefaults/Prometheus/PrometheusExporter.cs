using System.Buffers;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.Logging;
using Tag = System.Collections.Generic.KeyValuePair<string, object?>;

namespace Broker.ServiceDefaults.Prometheus;

/// <summary>
/// Listens to the process's instruments and writes them in Prometheus' text format. Measurements only add numbers; all
/// text is made at the scrape. Of two hosts in one process, each sees its own meters and those that belong to nobody.
/// </summary>
public sealed partial class PrometheusExporter : IDisposable
{
    public const string ContentType = "text/plain; version=0.0.4; charset=utf-8";

    private const string OverflowName = "broker_exporter_overflowed_measurements_total";

    private readonly PrometheusOptions _options;
    private readonly IMeterFactory? _meters;
    private readonly ILogger<PrometheusExporter> _logger;
    private readonly MeterListener _listener = new();

    /// <summary>Guards the map of families and makes scrapes take turns.</summary>
    private readonly Lock _lock = new();
    private readonly SortedDictionary<string, MetricFamily> _families = new(StringComparer.Ordinal);
    private int _scrape;

    public PrometheusExporter(PrometheusOptions options, IMeterFactory? meters, ILogger<PrometheusExporter> logger)
    {
        _options = options;
        _meters = meters;
        _logger = logger;
        _listener.InstrumentPublished = OnPublished;
        _listener.MeasurementsCompleted = OnCompleted;
        _listener.SetMeasurementEventCallback<byte>(static (_, value, tags, state) => Record((long)value, tags, state));
        _listener.SetMeasurementEventCallback<short>(
            static (_, value, tags, state) => Record((long)value, tags, state));
        _listener.SetMeasurementEventCallback<int>(static (_, value, tags, state) => Record((long)value, tags, state));
        _listener.SetMeasurementEventCallback<long>(static (_, value, tags, state) => Record(value, tags, state));
        _listener.SetMeasurementEventCallback<float>(
            static (_, value, tags, state) => Record((double)value, tags, state));
        _listener.SetMeasurementEventCallback<double>(static (_, value, tags, state) => Record(value, tags, state));
        _listener.SetMeasurementEventCallback<decimal>(
            static (_, value, tags, state) => Record((double)value, tags, state));
    }

    /// <summary>Begins to listen. What was measured before is not counted.</summary>
    public void Start() => _listener.Start();

    /// <summary>Observes the observable instruments and writes every metric. Callers take turns.</summary>
    public void Write(IBufferWriter<byte> output)
    {
        ArgumentNullException.ThrowIfNull(output);
        lock (_lock)
        {
            _scrape++;
            foreach (var family in _families.Values)
            {
                family.BeginScrape(_scrape);
            }

            Observe();
            var text = new PrometheusText(output);
            foreach (var family in _families.Values)
            {
                family.Write(text);
            }

            WriteOverflow(text);
        }
    }

    public void Dispose() => _listener.Dispose();

    private static void Record(long value, ReadOnlySpan<Tag> tags, object? state) =>
        (state as MetricFamily)?.Record(value, tags);

    private static void Record(double value, ReadOnlySpan<Tag> tags, object? state) =>
        (state as MetricFamily)?.Record(value, tags);

    private void Observe()
    {
        try
        {
            _listener.RecordObservableInstruments();
        }
        catch (AggregateException exception)
        {
            // The listener calls every instrument and then throws what some of them threw; the others are good.
            LogObservationFailed(_logger, exception);
        }
    }

    private void WriteOverflow(PrometheusText text)
    {
        var headed = false;
        foreach (var family in _families.Values.Where(family => family.Overflowed > 0))
        {
            if (!headed)
            {
                text.Header(
                    OverflowName, MetricKind.Counter, "Measurements of label sets beyond the limit of a metric.");
                headed = true;
            }

            text.Sample(OverflowName, $"metric=\"{family.Name}\"", family.Overflowed);
        }
    }

    private void OnPublished(Instrument instrument, MeterListener listener)
    {
        if (!_options.Wants(instrument.Meter.Name)
            || (instrument.Meter.Scope is IMeterFactory owner && !ReferenceEquals(owner, _meters))
            || MetricFamily.KindOf(instrument) is not { } kind)
        {
            return;
        }

        var family = FamilyOf(PrometheusNames.Metric(instrument.Name, instrument.Unit, kind), kind, instrument);
        if (family is not null)
        {
            listener.EnableMeasurementEvents(instrument, family);
        }
    }

    private MetricFamily? FamilyOf(string name, MetricKind kind, Instrument instrument)
    {
        lock (_lock)
        {
            if (!_families.TryGetValue(name, out var family))
            {
                if (_families.Count >= _options.MaxMetrics)
                {
                    LogTooManyMetrics(_logger, instrument.Meter.Name, instrument.Name, _options.MaxMetrics);
                    return null;
                }

                family = new MetricFamily(name, kind, instrument, _options);
                family.BeginScrape(_scrape);
                _families.Add(name, family);
            }
            else if (!family.Matches(kind, instrument))
            {
                LogConflict(_logger, instrument.Meter.Name, instrument.Name, name);
                return null;
            }

            family.Instruments++;
            return family;
        }
    }

    private void OnCompleted(Instrument instrument, object? state)
    {
        if (state is not MetricFamily family)
        {
            return;
        }

        lock (_lock)
        {
            if (--family.Instruments == 0)
            {
                _families.Remove(family.Name);
            }
        }
    }

    [LoggerMessage(11001, LogLevel.Warning, "Some observable metrics could not be read; the others are in the scrape")]
    private static partial void LogObservationFailed(ILogger logger, Exception exception);

    [LoggerMessage(
        11002, LogLevel.Warning, "Metric {Instrument} of meter {Meter} is left out: there are {Limit} metrics already")]
    private static partial void LogTooManyMetrics(ILogger logger, string meter, string instrument, int limit);

    [LoggerMessage(11003, LogLevel.Warning,
        "Metric {Instrument} of meter {Meter} is left out: {Name} is a metric of another kind already")]
    private static partial void LogConflict(ILogger logger, string meter, string instrument, string name);
}
