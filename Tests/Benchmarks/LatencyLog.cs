using System.Diagnostics;

namespace Broker.Tests.Benchmarks;

/// <summary>Every latency of a run, in timestamp ticks: no histogram rounds them.</summary>
internal sealed class LatencyLog
{
    private readonly List<long> _ticks = [];
    private bool _sorted;

    public int Count => _ticks.Count;

    public void Add(long ticks)
    {
        _ticks.Add(ticks);
        _sorted = false;
    }

    public double Microseconds(double quantile)
    {
        if (_ticks.Count == 0)
        {
            return 0;
        }

        if (!_sorted)
        {
            _ticks.Sort();
            _sorted = true;
        }

        var at = Math.Min((int)(quantile * _ticks.Count), _ticks.Count - 1);
        return Math.Round(_ticks[at] * 1e6 / Stopwatch.Frequency, 1);
    }
}
