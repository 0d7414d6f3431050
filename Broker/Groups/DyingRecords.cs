using Broker.Domain;

namespace Broker.Groups;

/// <summary>Records that become dead letters, and dead letters that are sent on their way again, or removed.</summary>
/// <param name="records">The group's.</param>
internal sealed class DyingRecords(GroupRecords records)
{
    /// <summary>Dead letters that are sent on their way again, or removed, with one request.</summary>
    public const int MostDeadAtOnce = 10_000;

    private readonly Queue<(DispatchLane Lane, long Offset, long NotBeforeUnixMs)> _dying = [];

    public bool IsAny => _dying.Count > 0;

    /// <summary>A record is to be buried.</summary>
    /// <param name="lane">Its topic.</param>
    /// <param name="offset">Its place there.</param>
    /// <param name="deliveries">How often it was delivered.</param>
    /// <param name="reason">Why, in the consumer's words.</param>
    /// <param name="request">Who waits for it.</param>
    public void Add(DispatchLane lane, long offset, int deliveries, string? reason, OpenRequest? request)
    {
        lane.Put(offset, new DispatchedRecord
        {
            State = RecordState.Dying,
            Deliveries = deliveries,
            Reason = reason,
            Request = request,
        });
        if (request is not null)
        {
            request.Left++;
        }

        _dying.Enqueue((lane, offset, 0));
    }

    /// <summary>
    /// The next record to bury: to be proposed together with a copy of it, then <see cref="OnBuried"/>. False: none.
    /// </summary>
    public bool TryTake(long nowUnixMs, out DyingRecord dying)
    {
        for (var left = _dying.Count; left > 0; left--)
        {
            var (lane, offset, notBefore) = _dying.Dequeue();
            if (lane.IsGone || !lane.Records.TryGetValue(offset, out var record) || record.State != RecordState.Dying)
            {
                continue;
            }

            if (notBefore > nowUnixMs)
            {
                _dying.Enqueue((lane, offset, notBefore));
                continue;
            }

            dying = new DyingRecord(lane.Topic, lane.Turn, offset, record.Deliveries, record.Reason);
            return true;
        }

        dying = default;
        return false;
    }

    /// <summary>None: it is a dead letter. Else it is tried again.</summary>
    public void OnBuried(int topic, int turn, long offset, RefusalCode code, long nowUnixMs)
    {
        if (!records.TryGet(topic, turn, out var lane)
            || !lane.Records.TryGetValue(offset, out var record) || record.State != RecordState.Dying)
        {
            return;
        }

        if (code != RefusalCode.None)
        {
            _dying.Enqueue((lane, offset, nowUnixMs + SettleQueue.RetryMs));
            return;
        }

        records.Tally.GivenUp++;
        records.Remove(lane, offset, out record);
        if (record.Request is { } request)
        {
            records.ToSettle.EndOne(request);
        }
    }

    /// <summary>There is nothing left to copy of a record that is dying: it is settled.</summary>
    public void OnGone(int topic, int turn, long offset)
    {
        if (records.TryGet(topic, turn, out var lane)
            && lane.Records.TryGetValue(offset, out var record) && record.State == RecordState.Dying)
        {
            var batch = records.Settle(lane, offset, record.Deliveries);
            if (record.Request is { } request)
            {
                batch.Add(request);
                request.Left--;
            }
        }
    }

    /// <summary>
    /// Sends dead letters on their way to the group's consumers again, as if for the first time, or removes them; how
    /// many there were. The request is answered by <see cref="GroupSettling.TakeAnswers"/> when it is committed.
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
        if (records.TryGet(topic, out var lane) && lane.IsOfTheDead)
        {
            most = Math.Min(Math.Min(most, MostDeadAtOnce), records.Room);
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

        records.ToSettle.EndOne(open);
        return count;
    }

    /// <summary>Dead letters before an offset, or whether one of them is there.</summary>
    public long CountDead(int topic, long? offset, long before) =>
        records.TryGet(topic, out var lane) ? lane.CountDead(offset, before) : 0;

    private SettleBatch TakeDead(DispatchLane lane, long offset, bool isPurge, long nowUnixMs)
    {
        records.TakeFreshAt(lane, offset);
        if (isPurge)
        {
            return records.Settle(lane, offset, deliveries: 0);
        }

        records.Wait(lane, offset, deliveries: 0, nowUnixMs);
        records.Lines.WantDead(lane, offset);
        var batch = records.ToSettle.Gather(lane);
        batch.Deliveries.Add(new DeliveryCount(offset, new Tried(0)));
        return batch;
    }
}
