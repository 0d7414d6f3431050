using Broker.Domain;

namespace Broker.Groups;

/// <summary>
/// Offsets of one topic: all below a floor, and ranges above it, which are sorted and touch neither each other nor the
/// floor. So the floor is the first offset that is not in, and what is between the ranges are holes.
/// </summary>
internal sealed class SettledOffsets(long floor)
{
    private readonly List<OffsetRange> _ranges = [];

    /// <summary>The first offset that is not in.</summary>
    public long Floor { get; private set; } = floor;

    /// <summary>What is in above the floor.</summary>
    public IReadOnlyList<OffsetRange> Ranges => _ranges;

    /// <summary>Behind the last offset that is in.</summary>
    public long End => _ranges.Count == 0 ? Floor : _ranges[^1].End;

    public bool Contains(long offset)
    {
        if (offset < Floor)
        {
            return true;
        }

        var at = FirstEndingAt(offset + 1);
        return at < _ranges.Count && _ranges[at].First <= offset;
    }

    /// <summary>The first offset from one on that is not in.</summary>
    public long FirstMissing(long from)
    {
        from = Math.Max(from, Floor);
        var at = FirstEndingAt(from + 1);
        return at < _ranges.Count && _ranges[at].First <= from ? _ranges[at].End : from;
    }

    /// <summary>The first offset from one on that is in; long.MaxValue when there is none.</summary>
    public long FirstIn(long from)
    {
        if (from < Floor)
        {
            return from;
        }

        var at = FirstEndingAt(from + 1);
        return at < _ranges.Count ? Math.Max(from, _ranges[at].First) : long.MaxValue;
    }

    /// <summary>How many offsets before an end are not in.</summary>
    public long CountMissing(long end)
    {
        var missing = Math.Max(0, end - Floor);
        foreach (var range in _ranges)
        {
            missing -= Math.Max(0, Math.Min(range.End, end) - range.First);
        }

        return missing;
    }

    /// <summary>Puts a range in; returns how many of its offsets were not in before.</summary>
    public long Add(OffsetRange range)
    {
        var (low, high) = (Math.Max(range.First, Floor), range.End);
        if (high <= low)
        {
            return 0;
        }

        var added = high - low;
        var from = FirstEndingAt(low);
        var to = from;
        for (var (first, end) = (low, high); to < _ranges.Count && _ranges[to].First <= end; to++)
        {
            var known = _ranges[to];
            added -= Math.Max(0, Math.Min(known.End, end) - Math.Max(known.First, first));
            (low, high) = (Math.Min(low, known.First), Math.Max(high, known.End));
        }

        _ranges.RemoveRange(from, to - from);
        if (low == Floor)
        {
            Invariant.Check(from == 0, "what begins at the floor stands before all ranges");
            Floor = high;
        }
        else
        {
            _ranges.Insert(from, new OffsetRange(low, high));
        }

        return added;
    }

    /// <summary>How many ranges there are once one was put in.</summary>
    public int CountWith(OffsetRange range)
    {
        var low = Math.Max(range.First, Floor);
        if (range.End <= low)
        {
            return _ranges.Count;
        }

        var from = FirstEndingAt(low);
        var to = from;
        while (to < _ranges.Count && _ranges[to].First <= range.End)
        {
            to++;
        }

        return _ranges.Count - (to - from) + (low == Floor ? 0 : 1);
    }

    private int FirstEndingAt(long end)
    {
        var (low, high) = (0, _ranges.Count);
        while (low < high)
        {
            var middle = low + ((high - low) / 2);
            (low, high) = _ranges[middle].End < end ? (middle + 1, high) : (low, middle);
        }

        return low;
    }
}

/// <param name="First">The first offset.</param>
/// <param name="End">Behind the last one.</param>
internal readonly record struct OffsetRange(long First, long End)
{
    public long Count => End - First;

    public static OffsetRange One(long offset) => new(offset, offset + 1);

    public bool Contains(long offset) => offset >= First && offset < End;
}
