using System.Runtime.InteropServices;
using Broker.Domain;

namespace Broker.Groups;

/// <summary>
/// One topic of a group in the memory of the shard's leader. A record that is not settled is fresh (it was not given
/// out since this leader took office), or is one of <see cref="Records"/>.
/// </summary>
/// <param name="topic">The topic's number in the shard.</param>
/// <param name="turn">See <see cref="GroupProgress.Turn"/>.</param>
/// <param name="next">The offset that the next record will get.</param>
/// <param name="isOfTheDead">
/// It is the group's topic of dead letters: only what an operator sends on its way again is delivered of it.
/// </param>
internal sealed class DispatchLane(int topic, int turn, long next, bool isOfTheDead)
{
    // What was settled when the leader began with the topic.
    private SettledOffsets _begun = new(0);

    public int Topic { get; } = topic;

    public int Turn { get; } = turn;

    public long Next { get; set; } = next;

    /// <summary>Below it no record is fresh.</summary>
    public long Cursor { get; set; }

    /// <summary>Records from the cursor on that are not fresh either.</summary>
    public SettledOffsets Taken { get; private set; } = new(0);

    /// <summary>Out at a consumer, waiting for another delivery, being settled, or being buried.</summary>
    public Dictionary<long, DispatchedRecord> Records { get; } = [];

    public int Out { get; set; }

    /// <summary>Records that came back and are not finished: they wait for another delivery, or die.</summary>
    public int Back { get; private set; }

    /// <summary>Where records' keys count: behind the last one whose key is known.</summary>
    public long KeysTo { get; set; }

    /// <summary>Of a topic of dead letters instead: those of which the key is still to be looked up.</summary>
    public Queue<long> KeysWanted { get; } = [];

    /// <summary>It stands in the queue of those of which keys are to be looked up.</summary>
    public bool WantsKeys { get; set; }

    public Dictionary<(ulong Key, byte Priority), KeyLine> Lines { get; } = [];

    /// <summary>It was followed anew, or is no longer: what still names it says nothing.</summary>
    public bool IsGone { get; set; }

    /// <summary>It stands in the queue of those that have something fresh.</summary>
    public bool IsQueued { get; set; }

    /// <summary>It stands in the queue of those that have something to commit.</summary>
    public bool IsToSettle { get; set; }

    public SettleBatch? UnderWay { get; set; }

    public LinkedList<SettleBatch> Pending { get; } = [];

    public bool IsOfTheDead { get; } = isOfTheDead;

    public bool HasFresh => !IsOfTheDead && Cursor < Next;

    /// <summary>Deliveries beyond a record's first.</summary>
    public long Redeliveries { get; set; }

    /// <summary>The first record from an offset on that is not settled; or that is fresh, too.</summary>
    public long FirstUnsettled(long from, bool isFresh) =>
        isFresh || Records.Count == 0 ? Math.Max(Cursor, Taken.FirstMissing(from)) : _begun.FirstMissing(from);

    /// <summary>Records that were settled because their time to live was over.</summary>
    public long Expired { get; set; }

    /// <summary>A record's key has come: false when it is not the next of those that are looked up.</summary>
    public bool TryTakeKey(long offset)
    {
        if (IsOfTheDead)
        {
            return KeysWanted.TryPeek(out var wanted) && wanted == offset && KeysWanted.TryDequeue(out _);
        }

        var isNext = KeysTo == offset;
        KeysTo += isNext ? 1 : 0;
        return isNext;
    }

    /// <summary>What was delivered in vain before waits; what is settled, and that, is not fresh.</summary>
    public void Begin(GroupProgress? progress, long nowUnixMs)
    {
        _begun = progress?.Settled ?? _begun;
        Taken = new SettledOffsets(_begun.Floor);
        Cursor = Taken.Floor;
        foreach (var range in progress?.Settled.Ranges ?? [])
        {
            Taken.Add(range);
        }

        foreach (var (offset, tried) in progress?.Deliveries ?? new Dictionary<long, Tried>())
        {
            Taken.Add(OffsetRange.One(offset));
            Put(offset, new DispatchedRecord
            {
                State = RecordState.Waiting,
                Deliveries = tried.Count,
                DueUnixMs = tried.DueUnixMs(nowUnixMs),
            });
        }

        MoveCursor(Cursor);
    }

    /// <summary>What is known of a record is this from now on. It keeps its line, and its priority.</summary>
    public void Put(long offset, in DispatchedRecord record)
    {
        ref var known = ref CollectionsMarshal.GetValueRefOrAddDefault(Records, offset, out var isKnown);
        Back += (record.IsBack ? 1 : 0) - (isKnown && known.IsBack ? 1 : 0);
        var (line, priority) = (record.Line ?? known.Line, Math.Max(record.Priority, known.Priority));
        known = record;
        (known.Line, known.Priority) = (line, priority);
    }

    /// <summary>It is finished. False: nothing was known of it.</summary>
    public bool Remove(long offset, out DispatchedRecord record)
    {
        var isKnown = Records.Remove(offset, out record);
        Back -= isKnown && record.IsBack ? 1 : 0;
        return isKnown;
    }

    public bool IsFresh(long offset) =>
        !IsOfTheDead && offset >= Cursor && offset < Next && !Taken.Contains(offset);

    /// <summary>A dead letter that nobody has sent on its way again, or removed.</summary>
    public bool IsDead(long offset) =>
        IsOfTheDead && offset >= Cursor && offset < Next && !Taken.Contains(offset);

    /// <summary>Records before an offset that nobody was given: fresh ones, or dead letters.</summary>
    public long CountMissing(long end)
    {
        var missing = Math.Max(0, end - Cursor);
        for (var at = Cursor; at < end;)
        {
            var taken = Math.Min(end, Taken.FirstIn(at));
            at = Taken.FirstMissing(taken);
            missing -= Math.Min(at, end) - taken;
        }

        return missing;
    }

    /// <summary>Dead letters before an offset, or whether one of them is there.</summary>
    public long CountDead(long? offset, long before)
    {
        if (!IsOfTheDead)
        {
            return 0;
        }

        var end = Math.Min(Next, before);
        return offset is { } one ? (one < end && IsDead(one) ? 1 : 0) : CountMissing(end);
    }

    /// <summary>What a record is; for tests and operators.</summary>
    public string PlaceOf(long offset, long nowUnixMs) => Records.TryGetValue(offset, out var record)
        ? record.State == RecordState.Waiting && record.DueUnixMs > nowUnixMs ? "Delayed"
        : record.Publishing > 0 ? "Publishing"
        : $"{record.State}"
        : IsFresh(offset) ? "Fresh"
        : offset < Next ? "Settled"
        : "None";

    /// <summary>How far the group is in it.</summary>
    public LaneReport Report(long nowUnixMs)
    {
        var (floor, waiting, delayed) = (Cursor, 0, 0);
        foreach (var (offset, record) in Records)
        {
            floor = Math.Min(floor, offset);
            waiting += record.State == RecordState.Waiting ? 1 : 0;
            delayed += record.State == RecordState.Waiting && record.DueUnixMs > nowUnixMs ? 1 : 0;
        }

        return new LaneReport(
            Turn, floor, Next, CountMissing(Next), Records.Count, Out, waiting, delayed, Redeliveries, Expired);
    }

    /// <summary>The next fresh records, up to a number.</summary>
    public OffsetRange TakeFresh(int most)
    {
        var end = Math.Min(Math.Min(Next, Cursor + most), Taken.FirstIn(Cursor));
        var range = new OffsetRange(Cursor, end);
        Invariant.Check(range.Count > 0, "what is given out is not empty");
        MoveCursor(end);
        return range;
    }

    /// <summary>A fresh record is taken out of its turn.</summary>
    public void TakeFreshAt(long offset)
    {
        Taken.Add(OffsetRange.One(offset));
        MoveCursor(Cursor);
    }

    /// <summary>Fresh records before an offset are to be settled.</summary>
    public void DropFresh(long before, SettleBatch batch)
    {
        while (Cursor < before)
        {
            var end = Math.Min(before, Taken.FirstIn(Cursor));
            batch.Add(new OffsetRange(Cursor, end));
            MoveCursor(end);
        }
    }

    private void MoveCursor(long to) => Cursor = Taken.FirstMissing(to);

    /// <summary>The batch that goes next, with room for one request more.</summary>
    public SettleBatch Gather()
    {
        if (Pending.Last is not { Value.IsFull: false } last)
        {
            last = Pending.AddLast(new SettleBatch());
        }

        return last.Value;
    }
}

/// <summary>What a record is of which a leader knows more than that it is not settled.</summary>
internal enum RecordState
{
    /// <summary>A consumer has it.</summary>
    Out,

    /// <summary>It is to be delivered again, at once or when it is due.</summary>
    Waiting,

    /// <summary>It is finished as soon as that is committed.</summary>
    Settling,

    /// <summary>It is a dead letter as soon as that is committed.</summary>
    Dying,
}

internal struct DispatchedRecord
{
    public RecordState State;

    /// <summary>How often it was delivered, the one under way included.</summary>
    public int Deliveries;

    /// <summary>While it waits.</summary>
    public long DueUnixMs;

    /// <summary>While it is out.</summary>
    public Lease? Lease;

    /// <summary>
    /// While it is out: requests under way that publish what its consumer has made of it, and finish it thereby. Until
    /// they are decided it comes to nobody else.
    /// </summary>
    public int Publishing;

    /// <summary>While it is dying: why, in the consumer's words.</summary>
    public string? Reason;

    /// <summary>While it is dying: who waits for it.</summary>
    public OpenRequest? Request;

    /// <summary>Of a group that keeps the order of keys: what waits for it. It is the first there.</summary>
    public KeyLine? Line;

    /// <summary>Of a group that goes by priority, as soon as it was looked up; it never changes.</summary>
    public byte Priority;

    public readonly bool IsBack => State is RecordState.Waiting or RecordState.Dying;
}

/// <summary>How far a group is in one topic of a shard.</summary>
/// <param name="Turn">See <see cref="GroupProgress.Turn"/>.</param>
/// <param name="Floor">Every record before it is settled.</param>
/// <param name="Next">The offset that the next record will get.</param>
/// <param name="Fresh">Records that were not given out.</param>
/// <param name="Known">Records that are out, wait, or are about to be finished.</param>
/// <param name="Out">Of these, at consumers.</param>
/// <param name="Waiting">Of these, for another delivery.</param>
/// <param name="Delayed">Of these, those that are not due yet.</param>
/// <param name="Redeliveries">Deliveries beyond each record's first, since the leader took office.</param>
/// <param name="Expired">Records whose time to live was over, since the leader took office.</param>
internal readonly record struct LaneReport(
    int Turn,
    long Floor,
    long Next,
    long Fresh,
    int Known,
    int Out,
    int Waiting,
    int Delayed,
    long Redeliveries,
    long Expired);
