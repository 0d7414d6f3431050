using System.Diagnostics.CodeAnalysis;
using Broker.Domain;

namespace Broker.Groups;

/// <content>Who is given what, and what of it could not be sent.</content>
internal sealed partial class GroupDispatcher
{
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
        if (!TryTake(most, nowUnixMs, out var lane, out var range, out var attempt))
        {
            return false;
        }

        var count = (int)range.Count;
        var lease = new Lease(++_lastLease, consumer, lane!, range, nowUnixMs + Settings.AckWaitMs)
        {
            Left = count,
        };
        for (var offset = range.First; offset < range.End; offset++)
        {
            Put(lane!, offset, new DispatchedRecord
            {
                State = RecordState.Out,
                Deliveries = attempt,
                Lease = lease,
            });
        }

        _leases.Enqueue(lease, lease.DeadlineUnixMs);
        _liveLeases++;
        lane!.Redeliveries += attempt > 1 ? count : 0;
        lane.Out += count;
        _out += count;
        if (_active is null)
        {
            _ready.Dequeue();
            consumer.IsQueued = false;
        }

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

    /// <summary>The same of records whose time to live is over: they are settled, and counted.</summary>
    public void Expire(in DeliveryToken token, OffsetRange range)
    {
        Skip(token, range);
        if (_lanes.TryGetValue(token.Topic, out var lane))
        {
            lane.Expired += range.Count;
            _tally.Expired += range.Count;
        }
    }

    /// <summary>The same of records that are gone: they are settled.</summary>
    public void Skip(in DeliveryToken token, OffsetRange range) => GiveUp(token, range, (lane, offset, record) =>
    {
        Put(lane, offset, new DispatchedRecord { State = RecordState.Settling, Deliveries = record.Deliveries });
        Gather(lane).Add(OffsetRange.One(offset));
    });

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
                AddCredit(record.Lease.By.Id, 1, 0);
                Release(lane, record);
                then(lane, offset, record);
            }
        }
    }

    private bool TryNextConsumer([NotNullWhen(true)] out GroupConsumer? consumer)
    {
        if (_active is not null)
        {
            consumer = _active;
            return consumer.MayBeGiven;
        }

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

    /// <summary>
    /// Of one priority neither those that come again and again nor the many new ones keep the others waiting.
    /// </summary>
    private bool TryTake(int most, long nowUnixMs, out DispatchLane? lane, out OffsetRange range, out int attempt)
    {
        (lane, range, attempt) = (null, default, 0);
        SortDue(nowUnixMs);
        for (var priority = GoesByPriority ? Priorities - 1 : 0; priority >= 0; priority--)
        {
            var isFresh = _isFreshNext;
            if (TryTake(isFresh, priority, most, nowUnixMs, out lane, out range, out attempt)
                || TryTake(isFresh = !isFresh, priority, most, nowUnixMs, out lane, out range, out attempt))
            {
                _isFreshNext = !isFresh;
                return true;
            }
        }

        return false;
    }

    private bool TryTake(
        bool isFresh,
        int priority,
        int most,
        long nowUnixMs,
        out DispatchLane? lane,
        out OffsetRange range,
        out int attempt) => isFresh
        ? TryTakeFresh(most, priority, out lane, out range, out attempt)
        : TryTakeWaiting(most, priority, nowUnixMs, out lane, out range, out attempt);

    private bool TryTakeFresh(int most, int priority, out DispatchLane? lane, out OffsetRange range, out int attempt)
    {
        (range, attempt) = (default, 1);
        lane = null;

        // Holes behind which others are settled are what the shard must remember.
        most = Math.Min(most, Limits.GroupOutstandingPerShard - _known);
        if (Settings.LooksAtKeys)
        {
            return most > 0 && TryTakeLined(most, priority, out lane, out range);
        }

        for (var left = _fresh.Count; left > 0 && most > 0; left--)
        {
            lane = _fresh.Dequeue();
            lane.IsQueued = false;
            if (!lane.IsGone && lane.HasFresh && !IsOutOfTurn(lane))
            {
                range = lane.TakeFresh(most);
                _known += (int)range.Count;
                Queue(lane);
                return true;
            }

            Queue(lane);
        }

        return false;
    }

    /// <summary>
    /// One consumer gets a topic in order: nothing new before what came back, nor before what its predecessor has.
    /// </summary>
    private bool IsOutOfTurn(DispatchLane lane) =>
        _active is not null && (lane.Back > 0 || lane.Out > _active.Held(lane));

    private bool TryTakeWaiting(
        int most, int priority, long nowUnixMs, out DispatchLane? lane, out OffsetRange range, out int attempt)
    {
        (lane, range, attempt) = (null, default, 0);
        while (TryPeekDue(priority, nowUnixMs, out var next) && range.Count < most)
        {
            var isWaiting = IsToCome(next, out var record) && (!GoesByPriority || record.Priority == priority);
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

            DropDue(priority);
        }

        return lane is not null;
    }

    /// <summary>It waits still, for that time, and not behind others of its key.</summary>
    private bool IsToCome(in (DispatchLane Lane, long Offset, long DueUnixMs) due, out DispatchedRecord record)
    {
        record = default;
        return !due.Lane.IsGone && due.Lane.Records.TryGetValue(due.Offset, out record)
            && record.State == RecordState.Waiting && record.DueUnixMs == due.DueUnixMs
            && (record.Line is not null || !KeepsKeyOrder);
    }
}
