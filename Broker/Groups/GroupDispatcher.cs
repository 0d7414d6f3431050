using System.Diagnostics.CodeAnalysis;
using Broker.ClusterState;
using Broker.Domain;

namespace Broker.Groups;

/// <summary>
/// A group in one shard, in the memory of the shard's leader: who has which records, what is delivered next, what comes
/// again and when. It does nothing by itself: time, topics, consumers, credit, and what they say of records come in;
/// records to deliver and commands to commit go out. What it forgets with its leader costs a delivery more, never a
/// record: the next leader begins with what is settled.
/// </summary>
/// <param name="term">The leader's term.</param>
/// <param name="settings">How the group delivers.</param>
internal sealed partial class GroupDispatcher(Term term, ConsumerGroupSettings settings)
{
    /// <summary>
    /// Records that are given to one consumer at once: one batch of a producer in most cases, and little enough that
    /// others are not left without.
    /// </summary>
    public const int RunRecords = 1_000;

    private readonly Dictionary<int, DispatchLane> _lanes = [];
    private readonly Dictionary<int, GroupConsumer> _consumers = [];

    // By turns. A consumer stands in it once while it has credit, a lane while something in it is fresh.
    private readonly Queue<GroupConsumer> _ready = [];
    private readonly Queue<DispatchLane> _fresh = [];

    // What was changed since it was put in says nothing any more: it is passed over when its time comes.
    private readonly PriorityQueue<(DispatchLane Lane, long Offset, long DueUnixMs), (long DueUnixMs, long Offset)>
        _waiting = new();

    private readonly PriorityQueue<Lease, long> _leases = new();
    private long _lastLease;
    private int _out;
    private int _known;
    private bool _isFreshNext;

    public ConsumerGroupSettings Settings { get; set; } = settings;

    /// <summary>Records at consumers.</summary>
    public int Out => _out;

    /// <summary>
    /// Begins with a topic, or begins anew because the group's place in it is another one: leases of before are void.
    /// </summary>
    /// <param name="topic">The topic's number in the shard.</param>
    /// <param name="progress">What the shard remembers; null: nothing yet.</param>
    /// <param name="next">The offset that the topic's next record will get.</param>
    /// <param name="nowUnixMs">The time.</param>
    public void Follow(int topic, GroupProgress? progress, long next, long nowUnixMs)
    {
        Unfollow(topic);
        var lane = new DispatchLane(topic, progress?.Turn ?? 0, next);
        lane.Begin(progress, nowUnixMs);
        _lanes.Add(topic, lane);
        _known += lane.Records.Count;
        foreach (var (offset, record) in lane.Records)
        {
            _waiting.Enqueue((lane, offset, record.DueUnixMs), (record.DueUnixMs, offset));
        }

        Queue(lane);
    }

    /// <summary>The topic is gone, or the group does not follow it any more.</summary>
    public void Unfollow(int topic)
    {
        if (!_lanes.Remove(topic, out var lane))
        {
            return;
        }

        lane.IsGone = true;
        _out -= lane.Out;
        _known -= lane.Records.Count;
        foreach (var consumer in _consumers.Values)
        {
            consumer.Forget(lane);
        }

        AnswerAll(lane);
    }

    /// <summary>More was committed in a topic.</summary>
    public void OnAppended(int topic, long next)
    {
        if (_lanes.TryGetValue(topic, out var lane))
        {
            lane.Next = Math.Max(lane.Next, next);
            Queue(lane);
        }
    }

    /// <summary>
    /// Records of a topic were removed: those that nobody was given are settled at once, however many they are.
    /// </summary>
    public void OnPurged(int topic, long first)
    {
        if (_lanes.TryGetValue(topic, out var lane) && lane.Cursor < Math.Min(first, lane.Next))
        {
            lane.DropFresh(Math.Min(first, lane.Next));
        }
    }

    public void AddConsumer(int consumer) => _consumers.Add(consumer, new GroupConsumer(consumer));

    /// <summary>What it was given stays its own until the leases end: it may settle from another stream.</summary>
    public void RemoveConsumer(int consumer)
    {
        if (_consumers.Remove(consumer, out var gone))
        {
            gone.IsGone = true;
        }
    }

    /// <summary>A consumer may be given so much more.</summary>
    public void AddCredit(int consumer, int records, long bytes)
    {
        if (_consumers.TryGetValue(consumer, out var known))
        {
            known.Records = Math.Min(known.Records + records, Limits.GroupCreditRecords);
            known.Bytes = Math.Min(known.Bytes + bytes, Limits.GroupCreditBytes);
            Queue(known);
        }
    }

    /// <summary>What a consumer was sent came to so many bytes.</summary>
    public void Charge(int consumer, long bytes)
    {
        if (_consumers.TryGetValue(consumer, out var known))
        {
            known.Bytes -= bytes;
        }
    }

    /// <summary>Ends the leases whose time has come: their records were delivered in vain.</summary>
    public void PassTime(long nowUnixMs)
    {
        while (_leases.TryPeek(out var lease, out var deadline) && deadline <= nowUnixMs)
        {
            _leases.Dequeue();
            if (lease.Lane.IsGone)
            {
                continue;
            }

            for (var offset = lease.Range.First; offset < lease.Range.End; offset++)
            {
                if (lease.Lane.Records.TryGetValue(offset, out var record)
                    && ReferenceEquals(record.Lease, lease))
                {
                    ComeBack(lease.Lane, offset, record, delayMs: null, nowUnixMs, request: null);
                }
            }
        }
    }

    /// <summary>
    /// Gives the next records to the next consumer. They must be sent, or taken back by <see cref="Skip"/>,
    /// <see cref="Delay"/> or <see cref="TakeBack"/>. False: nothing can be given now.
    /// </summary>
    public bool TryGive(long nowUnixMs, out GivenRecords given)
    {
        given = default;
        var room = Settings.MaxOutstanding - _out;
        if (Settings.IsPaused || room <= 0 || !TryNextConsumer(out var consumer))
        {
            return false;
        }

        var most = Math.Min(Math.Min(room, consumer.Records), RunRecords);

        // Neither those that come again and again nor the many new ones keep the others waiting.
        var isFresh = _isFreshNext;
        var isTaken = TryTake(isFresh, most, nowUnixMs, out var lane, out var range, out var attempt);
        if (!isTaken)
        {
            isFresh = !isFresh;
            isTaken = TryTake(isFresh, most, nowUnixMs, out lane, out range, out attempt);
        }

        if (!isTaken)
        {
            return false;
        }

        _isFreshNext = !isFresh;
        var count = (int)range.Count;
        var lease = new Lease(++_lastLease, consumer.Id, lane!, range, nowUnixMs + Settings.AckWaitMs);
        for (var offset = range.First; offset < range.End; offset++)
        {
            lane!.Records[offset] = new DispatchedRecord
            {
                State = RecordState.Out,
                Deliveries = attempt,
                Lease = lease,
            };
        }

        _leases.Enqueue(lease, lease.DeadlineUnixMs);
        lane!.Out += count;
        _out += count;
        _ready.Dequeue();
        consumer.IsQueued = false;
        consumer.Records -= count;
        consumer.Hold(lane, count);
        Queue(consumer);
        given = new GivenRecords(
            consumer.Id,
            new DeliveryToken(
                lane.Topic, lane.Turn, term.Value, lease.Number, lease.DeadlineUnixMs, attempt, range));
        return true;
    }

    /// <summary>
    /// Records that were given and cannot be sent: they come again at once, as if they had not been given.
    /// </summary>
    public void TakeBack(in DeliveryToken token, OffsetRange range, long nowUnixMs) =>
        GiveUp(token, range, (lane, offset, record) => Wait(lane, offset, record.Deliveries - 1, nowUnixMs));

    /// <summary>The same of a record that is not due yet.</summary>
    public void Delay(in DeliveryToken token, long offset, long dueUnixMs) =>
        GiveUp(token, OffsetRange.One(offset), (lane, at, record) => Wait(lane, at, record.Deliveries - 1, dueUnixMs));

    /// <summary>The same of records that are gone, or worth nothing any more: they are settled.</summary>
    public void Skip(in DeliveryToken token, OffsetRange range) => GiveUp(token, range, (lane, offset, record) =>
    {
        Put(lane, offset, new DispatchedRecord { State = RecordState.Settling, Deliveries = record.Deliveries });
        lane.Gather().Add(OffsetRange.One(offset));
    });

    /// <summary>What a record is; for tests and operators.</summary>
    public string PlaceOf(int topic, long offset, long nowUnixMs)
    {
        var lane = _lanes[topic];
        return lane.Records.TryGetValue(offset, out var record)
            ? record.State == RecordState.Waiting && record.DueUnixMs > nowUnixMs ? "Delayed" : $"{record.State}"
            : lane.IsFresh(offset) ? "Fresh"
            : offset < lane.Next ? "Settled"
            : "None";
    }

    private void GiveUp(
        in DeliveryToken token, OffsetRange range, Action<DispatchLane, long, DispatchedRecord> then)
    {
        if (!_lanes.TryGetValue(token.Topic, out var lane) || lane.Turn != token.Turn)
        {
            return;
        }

        for (var offset = range.First; offset < range.End; offset++)
        {
            if (lane.Records.TryGetValue(offset, out var record) && record.Lease?.Number == token.Lease)
            {
                AddCredit(record.Lease.Consumer, 1, 0);
                Release(lane, record);
                then(lane, offset, record);
            }
        }
    }

    private bool TryNextConsumer([NotNullWhen(true)] out GroupConsumer? consumer)
    {
        while (_ready.TryPeek(out consumer))
        {
            if (consumer.MayBeGiven)
            {
                return true;
            }

            _ready.Dequeue();
            consumer.IsQueued = false;
        }

        return false;
    }

    private bool TryTake(
        bool isFresh, int most, long nowUnixMs, out DispatchLane? lane, out OffsetRange range, out int attempt) =>
        isFresh
            ? TryTakeFresh(most, out lane, out range, out attempt)
            : TryTakeWaiting(most, nowUnixMs, out lane, out range, out attempt);

    private bool TryTakeFresh(int most, out DispatchLane? lane, out OffsetRange range, out int attempt)
    {
        (range, attempt) = (default, 1);
        lane = null;

        // Holes behind which others are settled are what the shard must remember.
        most = Math.Min(most, Limits.GroupOutstandingPerShard - _known);
        while (most > 0 && _fresh.TryDequeue(out lane))
        {
            lane.IsQueued = false;
            if (!lane.IsGone && lane.HasFresh)
            {
                range = lane.TakeFresh(most);
                _known += (int)range.Count;
                Queue(lane);
                return true;
            }
        }

        return false;
    }

    private bool TryTakeWaiting(
        int most, long nowUnixMs, out DispatchLane? lane, out OffsetRange range, out int attempt)
    {
        (lane, range, attempt) = (null, default, 0);
        while (_waiting.TryPeek(out var next, out _) && next.DueUnixMs <= nowUnixMs && range.Count < most)
        {
            var isWaiting = !next.Lane.IsGone && next.Lane.Records.TryGetValue(next.Offset, out var record)
                && record.State == RecordState.Waiting && record.DueUnixMs == next.DueUnixMs;
            record = isWaiting ? next.Lane.Records[next.Offset] : default;
            if (isWaiting && IsTriedEnough(record.Deliveries))
            {
                Bury(next.Lane, next.Offset, record, null, null);
                isWaiting = false;
            }

            if (isWaiting && lane is null)
            {
                (lane, range, attempt) = (next.Lane, OffsetRange.One(next.Offset), record.Deliveries + 1);
            }
            else if (isWaiting && lane == next.Lane && next.Offset == range.End && record.Deliveries + 1 == attempt)
            {
                range = range with { End = range.End + 1 };
            }
            else if (isWaiting)
            {
                break;
            }

            _waiting.Dequeue();
        }

        return lane is not null;
    }

    private void Queue(DispatchLane lane)
    {
        if (!lane.IsQueued && !lane.IsGone && lane.HasFresh)
        {
            lane.IsQueued = true;
            _fresh.Enqueue(lane);
        }
    }

    private void Queue(GroupConsumer consumer)
    {
        if (!consumer.IsQueued && consumer.MayBeGiven)
        {
            consumer.IsQueued = true;
            _ready.Enqueue(consumer);
        }
    }

    private void Release(DispatchLane lane, in DispatchedRecord record)
    {
        if (record.State == RecordState.Out)
        {
            lane.Out--;
            _out--;
            if (_consumers.TryGetValue(record.Lease!.Consumer, out var consumer))
            {
                consumer.Hold(lane, -1);
            }
        }
    }

    private static void Put(DispatchLane lane, long offset, in DispatchedRecord record) =>
        lane.Records[offset] = record;

    private void Wait(DispatchLane lane, long offset, int deliveries, long dueUnixMs)
    {
        Put(lane, offset, new DispatchedRecord
        {
            State = RecordState.Waiting,
            Deliveries = deliveries,
            DueUnixMs = dueUnixMs,
        });
        _waiting.Enqueue((lane, offset, dueUnixMs), (dueUnixMs, offset));
    }
}
