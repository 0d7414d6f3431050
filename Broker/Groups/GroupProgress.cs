namespace Broker.Groups;

/// <summary>
/// How far a group is in one topic (one partition) of the shard. What is not settled is with the shard's leader:
/// waiting, delayed, or out at a consumer. It is made when there is something to remember: until then the group has
/// everything before it.
/// </summary>
/// <param name="topic">The topic's number in the shard.</param>
/// <param name="start">The first offset that the group wants.</param>
/// <param name="turn">Which turn it is, see <see cref="Turn"/>.</param>
internal sealed class GroupProgress(int topic, long start, int turn)
{
    private static readonly SortedDictionary<long, Tried> None = [];

    // Most topics have none.
    private SortedDictionary<long, Tried>? _deliveries;

    public int Topic { get; } = topic;

    /// <summary>
    /// Counts the seeks. What was delivered in an earlier turn cannot be settled: it may be wanted again.
    /// </summary>
    public int Turn { get; private set; } = turn;

    /// <summary>What never comes again: finished, dead, or worth nothing any more.</summary>
    public SettledOffsets Settled { get; private set; } = new(start);

    /// <summary>
    /// Deliveries of records that came to nothing (a nack, or a lease that ran out), by offset; of none that is
    /// settled.
    /// </summary>
    public IReadOnlyDictionary<long, Tried> Deliveries => _deliveries ?? None;

    /// <summary>Records that became dead letters here.</summary>
    public long Dead { get; set; }

    /// <summary>What it takes in the shard: ranges and counts.</summary>
    public int Size => Settled.Ranges.Count + Deliveries.Count;

    /// <summary>Returns how many were not settled before.</summary>
    public long Settle(OffsetRange range)
    {
        if (_deliveries is { } counts)
        {
            if (range.Count <= counts.Count)
            {
                for (var offset = range.First; offset < range.End; offset++)
                {
                    counts.Remove(offset);
                }
            }
            else
            {
                foreach (var offset in counts.Keys.Where(range.Contains).ToArray())
                {
                    counts.Remove(offset);
                }
            }

            _deliveries = counts.Count == 0 ? null : counts;
        }

        return Settled.Add(range);
    }

    /// <summary>A count never falls, and a record that is settled has none.</summary>
    public void NoteDeliveries(long offset, Tried tried)
    {
        if (!Settled.Contains(offset))
        {
            _deliveries ??= [];
            if (_deliveries.GetValueOrDefault(offset).Count <= tried.Count)
            {
                _deliveries[offset] = tried;
            }
        }
    }

    /// <summary>The same, for another thread.</summary>
    public GroupProgress Copy()
    {
        var copy = new GroupProgress(Topic, Settled.Floor, Turn)
        {
            Dead = Dead,
            _deliveries = _deliveries is null ? null : new SortedDictionary<long, Tried>(_deliveries),
        };
        foreach (var range in Settled.Ranges)
        {
            copy.Settled.Add(range);
        }

        return copy;
    }

    /// <summary>The group goes to an offset, forwards or back; what was counted is forgotten.</summary>
    public void Seek(long offset)
    {
        Settled = new SettledOffsets(offset);
        _deliveries = null;
        Turn = checked(Turn + 1);
    }
}

/// <param name="Count">How often a record was delivered in vain.</param>
/// <param name="WaitMs">How long it then waits for the next time; 0: not at all.</param>
/// <param name="SinceUnixMs">The log's time when it began to wait; 0: it does not.</param>
internal readonly record struct Tried(int Count, long WaitMs = 0, long SinceUnixMs = 0)
{
    /// <summary>
    /// When it is due, as a leader sees it that comes into office: never later than if it began to wait now, whatever
    /// the clock of the leader before said.
    /// </summary>
    public long DueUnixMs(long nowUnixMs) => nowUnixMs + Math.Clamp(SinceUnixMs + WaitMs - nowUnixMs, 0, WaitMs);
}
