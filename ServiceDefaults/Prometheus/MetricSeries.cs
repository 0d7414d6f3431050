namespace Broker.ServiceDefaults.Prometheus;

/// <summary>One label set of a metric: takes measurements from any thread, and writes itself at a scrape.</summary>
internal abstract class MetricSeries(string labels)
{
    /// <summary>Without braces, e.g. <c>topic="a",code="b"</c>; may be empty.</summary>
    protected string Labels { get; } = labels;

    /// <summary>The scrape that last observed it; only observable instruments set it.</summary>
    public int ObservedAt { get; set; }

    public abstract void Record(long value);

    public abstract void Record(double value);

    public abstract void Write(PrometheusText text, string name);
}

/// <summary>Adds up: counters and up-down counters.</summary>
internal sealed class SumSeries(string labels) : MetricSeries(labels)
{
    private const int Whole = 0;
    private const int Fraction = 1;

    private readonly Stripes _stripes = new(cells: 2);

    public override void Record(long value) => _stripes.Add(Whole, value);

    public override void Record(double value) => _stripes.Add(Fraction, value);

    public override void Write(PrometheusText text, string name)
    {
        var fraction = _stripes.SumOfDoubles(Fraction);
        if (fraction == 0)
        {
            text.Sample(name, Labels, _stripes.Sum(Whole));
        }
        else
        {
            text.Sample(name, Labels, _stripes.Sum(Whole) + fraction);
        }
    }
}

/// <summary>Keeps the last value: gauges, and all observable instruments.</summary>
internal sealed class LastSeries(string labels) : MetricSeries(labels)
{
    private double _value;

    public override void Record(long value) => Record((double)value);

    public override void Record(double value) => Volatile.Write(ref _value, value);

    public override void Write(PrometheusText text, string name) =>
        text.Sample(name, Labels, Volatile.Read(ref _value));
}

/// <summary>Counts by buckets. A bucket holds what is at most its bound.</summary>
internal sealed class HistogramSeries(string labels, double[] bounds) : MetricSeries(labels)
{
    // One cell for each bound, one for what is beyond the last, one for the sum.
    private readonly Stripes _stripes = new(bounds.Length + 2);

    private int SumCell => bounds.Length + 1;

    public override void Record(long value) => Record((double)value);

    public override void Record(double value)
    {
        // NaN is in no bucket and would make the sum NaN for ever.
        if (double.IsNaN(value))
        {
            return;
        }

        var found = Array.BinarySearch(bounds, value);
        _stripes.Add(found >= 0 ? found : ~found, 1L);
        _stripes.Add(SumCell, value);
    }

    public override void Write(PrometheusText text, string name)
    {
        var count = 0L;
        for (var i = 0; i < bounds.Length; i++)
        {
            count += _stripes.Sum(i);
            text.Bucket(name, Labels, bounds[i], count);
        }

        // The count is read once, so the last bucket and _count agree, as Prometheus asks.
        count += _stripes.Sum(bounds.Length);
        text.Bucket(name, Labels, double.PositiveInfinity, count);
        text.Sample(name + "_sum", Labels, _stripes.SumOfDoubles(SumCell));
        text.Sample(name + "_count", Labels, count);
    }
}
