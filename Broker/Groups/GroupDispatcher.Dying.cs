using Broker.Domain;

namespace Broker.Groups;

/// <content>Records that become dead letters.</content>
internal sealed partial class GroupDispatcher
{
    private readonly Queue<(DispatchLane Lane, long Offset, long NotBeforeUnixMs)> _dying = [];

    /// <summary>
    /// The next record to bury: to be proposed together with a copy of it, then <see cref="OnBuried"/>. False: none.
    /// </summary>
    public bool TryTakeDying(long nowUnixMs, out DyingRecord dying)
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
        if (!_lanes.TryGetValue(topic, out var lane) || lane.Turn != turn
            || !lane.Records.TryGetValue(offset, out var record) || record.State != RecordState.Dying)
        {
            return;
        }

        if (code != RefusalCode.None)
        {
            _dying.Enqueue((lane, offset, nowUnixMs + RetryMs));
            return;
        }

        lane.Remove(offset, out record);
        _known--;
        _tally.GivenUp++;
        GoOn(record.Line, offset);
        if (record.Request is { } request)
        {
            request.Left--;
            Answer(request);
        }
    }

    /// <summary>There is nothing left to copy of a record that is dying: it is settled.</summary>
    public void OnGone(int topic, int turn, long offset)
    {
        if (_lanes.TryGetValue(topic, out var lane) && lane.Turn == turn
            && lane.Records.TryGetValue(offset, out var record) && record.State == RecordState.Dying)
        {
            var batch = Gather(lane);
            Put(lane, offset, new DispatchedRecord { State = RecordState.Settling, Deliveries = record.Deliveries });
            batch.Add(OffsetRange.One(offset));
            if (record.Request is { } request)
            {
                batch.Add(request);
                request.Left--;
            }
        }
    }

    private bool IsTriedEnough(int deliveries) => Settings.MaxDeliveries > 0 && deliveries >= Settings.MaxDeliveries;

    private void Bury(DispatchLane lane, long offset, in DispatchedRecord record, string? reason, OpenRequest? request)
    {
        if (!Settings.KeepsDeadLetters)
        {
            _tally.GivenUp++;
            Finish(lane, offset, record, request);
            return;
        }

        Put(lane, offset, new DispatchedRecord
        {
            State = RecordState.Dying,
            Deliveries = record.Deliveries,
            Reason = reason,
            Request = request,
        });
        if (request is not null)
        {
            request.Left++;
        }

        _dying.Enqueue((lane, offset, 0));
    }
}
