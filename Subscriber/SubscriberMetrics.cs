using System.Diagnostics.Metrics;
using Subscriber.Inbox;

namespace Subscriber;

/// <summary>The subscriber's own figures, meter "Broker.Subscriber"; GET /stats shows the same counts.</summary>
internal sealed class SubscriberMetrics : IDisposable
{
    private static readonly InstrumentAdvice<double> Durations = new()
    {
        HistogramBucketBoundaries = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    };

    private readonly Meter _meter = new("Broker.Subscriber");
    private readonly Counter<long> _delivered;
    private readonly Counter<long> _duplicates;
    private readonly Counter<long> _gaps;
    private readonly Histogram<double> _lag;
    private long _liveCount;
    private long _logCount;
    private long _duplicateCount;
    private long _gapCount;

    public SubscriberMetrics()
    {
        _delivered = _meter.CreateCounter<long>(
            "broker.subscriber.delivered", "{message}", "Messages stored in the inbox, by where they came from.");
        _duplicates = _meter.CreateCounter<long>(
            "broker.subscriber.duplicates", "{message}", "Messages that arrived again and were dropped.");
        _gaps = _meter.CreateCounter<long>(
            "broker.subscriber.gaps",
            "{gap}",
            "Times that the live feed had skipped something, which is read from the log.");
        _lag = _meter.CreateHistogram(
            "broker.subscriber.live.lag", "s", "Age of a live message when it is stored.", advice: Durations);
    }

    public long Live => Interlocked.Read(ref _liveCount);

    public long Log => Interlocked.Read(ref _logCount);

    public long Duplicates => Interlocked.Read(ref _duplicateCount);

    public long Gaps => Interlocked.Read(ref _gapCount);

    public void Delivered(MessageSource source, int count)
    {
        if (source == MessageSource.Live)
        {
            Interlocked.Add(ref _liveCount, count);
            _delivered.Add(count, new KeyValuePair<string, object?>("source", "live"));
        }
        else
        {
            Interlocked.Add(ref _logCount, count);
            _delivered.Add(count, new KeyValuePair<string, object?>("source", "log"));
        }
    }

    /// <summary>Clocks of two machines may differ: a negative age counts as none.</summary>
    public void LiveLag(TimeSpan age) => _lag.Record(Math.Max(0, age.TotalSeconds));

    public void Duplicate(long count)
    {
        Interlocked.Add(ref _duplicateCount, count);
        _duplicates.Add(count);
    }

    public void Gap()
    {
        Interlocked.Increment(ref _gapCount);
        _gaps.Add(1);
    }

    public void Dispose() => _meter.Dispose();
}
