using Broker.Domain;

namespace Broker.Groups;

/// <content>What consumers' credit, operators and whoever runs the dispatcher ask of it.</content>
internal sealed partial class GroupDispatcher
{
    /// <summary>Dead letters that are sent on their way again, or removed, with one request.</summary>
    public const int MostDeadAtOnce = 10_000;

    /// <summary>The topics that the group follows here.</summary>
    public IReadOnlyCollection<int> Topics => _lanes.Keys;

    /// <summary>
    /// When to come again though nothing happens: a lease ends, a record is due, or something is tried once more.
    /// </summary>
    public long NextAlarmUnixMs(long nowUnixMs)
    {
        var next = _leases.TryPeek(out _, out var lease) ? lease : long.MaxValue;
        if (_waiting.TryPeek(out _, out var due) && due.DueUnixMs > nowUnixMs)
        {
            next = Math.Min(next, due.DueUnixMs);
        }

        return _dying.Count > 0 || _toSettle.Any(static lane => lane.UnderWay is null)
            ? Math.Min(next, nowUnixMs + RetryMs)
            : next;
    }

    /// <summary>
    /// There is something to give, and nobody who may be given it: consumers that have none left are to ask for more
    /// credit. Each is named once until it gets some.
    /// </summary>
    public void TakeHungry(long nowUnixMs, List<int> into)
    {
        if (!MayGive(nowUnixMs) || TryNextConsumer(out _))
        {
            return;
        }

        foreach (var consumer in _consumers.Values)
        {
            if (!consumer.IsHungry && (_active is null || consumer == _active))
            {
                consumer.IsHungry = true;
                into.Add(consumer.Id);
            }
        }
    }

    /// <summary>
    /// Consumers for which there is nothing now, but what they were given before: each is named once. To be asked when
    /// <see cref="TryGive"/> has said that nothing can be given, and all keys are looked up.
    /// </summary>
    public void TakeQuiet(long nowUnixMs, List<int> into)
    {
        if (_newcomers.Count == 0)
        {
            return;
        }

        // One that lacks credit only may get some.
        var isQuiet = !MayGive(nowUnixMs) || TryNextConsumer(out _);
        foreach (var consumer in _newcomers.ToArray())
        {
            if (isQuiet || (_active is not null && consumer != _active))
            {
                _newcomers.Remove(consumer);
                into.Add(consumer.Id);
            }
        }
    }

    /// <summary>Takes the credit that a consumer has left.</summary>
    public (int Records, long Bytes) TakeCredit(int consumer)
    {
        if (!_consumers.TryGetValue(consumer, out var known))
        {
            return default;
        }

        var left = (known.Records, known.Bytes);
        (known.Records, known.Bytes) = (0, 0);
        return left;
    }

    /// <summary>Records that a consumer holds, and what it may still be given.</summary>
    public (int Out, int Records, long Bytes) Describe(int consumer) =>
        _consumers.TryGetValue(consumer, out var known) ? (known.Out, known.Records, known.Bytes) : default;

    /// <summary>Whether a consumer is given records: of an exclusive group only one is.</summary>
    public bool IsServed(int consumer) =>
        _consumers.ContainsKey(consumer) && (_active is null || _active.Id == consumer);

    /// <summary>How far the group is in a topic that it follows.</summary>
    public LaneReport Describe(int topic, long nowUnixMs)
    {
        var lane = _lanes[topic];
        var (floor, waiting, delayed) = (lane.Cursor, 0, 0);
        foreach (var (offset, record) in lane.Records)
        {
            floor = Math.Min(floor, offset);
            waiting += record.State == RecordState.Waiting ? 1 : 0;
            delayed += record.State == RecordState.Waiting && record.DueUnixMs > nowUnixMs ? 1 : 0;
        }

        return new LaneReport(
            lane.Turn,
            floor,
            lane.Next,
            lane.CountMissing(lane.Next),
            lane.Records.Count,
            lane.Out,
            waiting,
            delayed,
            lane.Redeliveries,
            lane.Expired);
    }

    /// <summary>See <see cref="RecordPeek.Take"/>.</summary>
    public IReadOnlyList<PeekedOffset> Peek(int topic, PeekState state, long from, int most, long nowUnixMs) =>
        RecordPeek.Take(_lanes[topic], state, from, most, nowUnixMs);

    /// <summary>
    /// Sends dead letters on their way to the group's consumers again, as if for the first time, or removes them; how
    /// many there were. The request is answered by <see cref="TakeAnswers"/> when it is committed.
    /// </summary>
    /// <param name="request">Comes back in the answer.</param>
    /// <param name="topic">The topic of dead letters.</param>
    /// <param name="offset">One of them; null: all of now, up to <see cref="MostDeadAtOnce"/>.</param>
    /// <param name="isPurge">They are removed.</param>
    /// <param name="nowUnixMs">The time.</param>
    /// <param name="before">Only those before this offset.</param>
    /// <param name="most">Not more than so many.</param>
    public int TakeDead(
        long request,
        int topic,
        long? offset,
        bool isPurge,
        long nowUnixMs,
        long before = long.MaxValue,
        int most = MostDeadAtOnce)
    {
        var open = new OpenRequest(request) { Left = 1 };
        var count = 0;
        if (_lanes.TryGetValue(topic, out var lane) && lane.IsOfTheDead)
        {
            most = Math.Min(Math.Min(most, MostDeadAtOnce), Limits.GroupOutstandingPerShard - _known);
            var end = Math.Min(Math.Min(lane.Next, before), offset is { } one ? one + 1 : long.MaxValue);
            for (var at = offset ?? lane.Cursor; at < end && count < most; at = lane.Taken.FirstMissing(at + 1))
            {
                if (lane.IsDead(at))
                {
                    count++;
                    TakeDead(lane, at, isPurge, nowUnixMs).Add(open);
                }
            }
        }

        open.Left--;
        Answer(open);
        return count;
    }

    /// <summary>Dead letters before an offset, or whether one of them is there.</summary>
    public long CountDead(int topic, long? offset, long before)
    {
        if (!_lanes.TryGetValue(topic, out var lane) || !lane.IsOfTheDead)
        {
            return 0;
        }

        var end = Math.Min(lane.Next, before);
        return offset is { } one ? (one < end && lane.IsDead(one) ? 1 : 0) : lane.CountMissing(end);
    }

    private bool MayGive(long nowUnixMs)
    {
        var isDue = HasDue || (_waiting.TryPeek(out _, out var due) && due.DueUnixMs <= nowUnixMs);
        return !Settings.IsPaused && _out < Settings.MaxOutstanding && (_fresh.TryPeek(out _) || HasLined || isDue);
    }

    private SettleBatch TakeDead(DispatchLane lane, long offset, bool isPurge, long nowUnixMs)
    {
        lane.TakeFreshAt(offset);
        _known++;
        var batch = Gather(lane);
        if (isPurge)
        {
            Put(lane, offset, new DispatchedRecord { State = RecordState.Settling });
            batch.Add(OffsetRange.One(offset));
        }
        else
        {
            Wait(lane, offset, deliveries: 0, nowUnixMs);
            if (LooksAtKnown)
            {
                lane.KeysWanted.Enqueue(offset);
                WantKeys(lane);
            }

            batch.Deliveries.Add(new DeliveryCount(offset, new Tried(0)));
        }

        return batch;
    }
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
