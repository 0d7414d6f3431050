using System.Diagnostics.Metrics;

namespace Publisher;

/// <summary>The publisher's own figures, meter "Broker.Publisher".</summary>
internal sealed class PublisherMetrics : IDisposable
{
    private static readonly InstrumentAdvice<double> Durations = new()
    {
        HistogramBucketBoundaries = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    };

    private readonly Meter _meter = new("Broker.Publisher");
    private readonly Counter<long> _stored;
    private readonly Counter<long> _committed;
    private readonly Counter<long> _refused;
    private readonly Counter<long> _resends;
    private readonly Histogram<double> _storeDuration;
    private readonly Histogram<double> _commitDuration;

    // Pending is the sum of both: what comes and goes while the database counts is not forgotten.
    private long _counted;
    private long _changed;

    public PublisherMetrics()
    {
        _stored = _meter.CreateCounter<long>("broker.publisher.stored", "{message}", "Messages stored in the outbox.");
        _committed = _meter.CreateCounter<long>(
            "broker.publisher.committed", "{message}", "Messages that brokers acknowledged.");
        _refused = _meter.CreateCounter<long>(
            "broker.publisher.refused", "{message}", "Messages that brokers refused for good.");
        _resends = _meter.CreateCounter<long>(
            "broker.publisher.relay.resends", "{message}", "Messages sent for producers that are gone.");
        _storeDuration = _meter.CreateHistogram(
            "broker.publisher.store.duration", "s", "Time of one insert into the outbox.", advice: Durations);
        _commitDuration = _meter.CreateHistogram(
            "broker.publisher.commit.duration",
            "s",
            "Time from sending a chunk to its acknowledgement.",
            advice: Durations);
        _meter.CreateObservableGauge(
            "broker.publisher.pending",
            () => Pending,
            "{message}",
            "Messages in the outbox that brokers have not acknowledged.");
    }

    /// <summary>
    /// Pending rows: counted here between two counts of the database. Under load near the truth rather than exact: a
    /// row that was stored just before a count may be in it twice, one that was marked then may be missing.
    /// </summary>
    public long Pending => Math.Max(0, Interlocked.Read(ref _counted) + Interlocked.Read(ref _changed));

    /// <summary>How many rows came since the start of the process, less those that went.</summary>
    public long Changed => Interlocked.Read(ref _changed);

    /// <param name="rows">What the database had.</param>
    /// <param name="changed"><see cref="Changed"/> as it was before it was asked.</param>
    public void SetPending(long rows, long changed) => Interlocked.Exchange(ref _counted, rows - changed);

    public void Stored(int rows, TimeSpan duration)
    {
        _stored.Add(rows);
        _storeDuration.Record(duration.TotalSeconds);
        Interlocked.Add(ref _changed, rows);
    }

    public void Committed(int rows, TimeSpan duration)
    {
        _committed.Add(rows);
        _commitDuration.Record(duration.TotalSeconds);
    }

    public void Refused(int rows) => _refused.Add(rows);

    public void Resent(int rows) => _resends.Add(rows);

    public void Marked(int rows) => Interlocked.Add(ref _changed, -rows);

    public void Dispose() => _meter.Dispose();
}
