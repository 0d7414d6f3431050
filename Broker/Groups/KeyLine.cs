namespace Broker.Groups;

/// <summary>What decides when a record is delivered, where that is not its offset.</summary>
/// <param name="Key">A hash of its key; 0: it has none.</param>
/// <param name="Priority">0 to 9; those with a higher one go first.</param>
internal readonly record struct RecordKey(ulong Key, byte Priority);

/// <summary>
/// Records of one key in one topic that wait to be delivered, in offset order. Two keys of one hash share a line, which
/// costs them a wait and nothing else.
/// </summary>
/// <param name="lane">The topic.</param>
/// <param name="id">Its name among the topic's lines.</param>
/// <param name="blocks">
/// One record at a time: the first one stays in the line, and keeps the others waiting, until it is finished.
/// </param>
internal sealed class KeyLine(DispatchLane lane, (ulong Key, byte Priority) id, bool blocks)
{
    private const int LeastSpareRuns = 32;

    // A busy key has long runs: as many records then take no memory.
    private readonly List<(OffsetRange Range, byte Priority)> _runs = [];
    private int _first;

    public DispatchLane Lane => lane;

    public (ulong Key, byte Priority) Id => id;

    public bool Blocks => blocks;

    /// <summary>It stands in the queue of its first record's priority.</summary>
    public bool IsQueued { get; set; }

    /// <summary>The group's settings have changed, or the topic is gone: nobody uses it any more.</summary>
    public bool IsOver { get; set; }

    public int Runs => _runs.Count - _first;

    public bool TryPeek(out OffsetRange run, out byte priority)
    {
        (run, priority) = Runs > 0 ? _runs[_first] : default;
        return Runs > 0;
    }

    public void Add(long offset, byte priority)
    {
        if (Runs > 0 && _runs[^1] is var (range, last) && range.End == offset && last == priority)
        {
            _runs[^1] = (range with { End = offset + 1 }, last);
        }
        else
        {
            _runs.Add((OffsetRange.One(offset), priority));
        }
    }

    /// <summary>The first record goes.</summary>
    public void Take()
    {
        var (range, priority) = _runs[_first];
        if (range.Count > 1)
        {
            _runs[_first] = (range with { First = range.First + 1 }, priority);
        }
        else if (++_first > LeastSpareRuns && _first > _runs.Count / 2)
        {
            _runs.RemoveRange(0, _first);
            _first = 0;
        }
    }
}
