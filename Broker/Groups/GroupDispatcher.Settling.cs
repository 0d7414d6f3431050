using Broker.Domain;

namespace Broker.Groups;

/// <content>What consumers say of records, and what of it is to be committed.</content>
internal sealed partial class GroupDispatcher
{
    /// <summary>How long what the shard had no room for, or could not bury, waits for another try.</summary>
    private const long RetryMs = 500;

    private readonly Queue<(DispatchLane Lane, long Offset, long NotBeforeUnixMs)> _dying = [];
    private readonly List<SettleAnswer> _answers = [];

    private enum Hold
    {
        /// <summary>The record is whose token it is.</summary>
        Holds,

        /// <summary>It is finished, or will be with what is under way.</summary>
        IsSettled,

        /// <summary>The lease ran out, or the leader changed and the record is out again.</summary>
        IsLost,
    }

    /// <summary>A consumer says what is to become of records. Answered by <see cref="TakeAnswers"/>.</summary>
    public void Settle(in SettleRequest request, long nowUnixMs)
    {
        var token = request.Token;
        var open = new OpenRequest(request.Id);
        if (!_lanes.TryGetValue(token.Topic, out var lane) || lane.Turn != token.Turn || token.Range.First < 0
            || token.Range.End > lane.Next || token.Range.Count is <= 0 or > RunRecords)
        {
            open.Lost = (int)Math.Clamp(token.Range.Count, 0, int.MaxValue);
            Answer(open);
            return;
        }

        open.Left++;
        Lease? extended = null;
        for (var offset = token.Range.First; offset < token.Range.End; offset++)
        {
            var hold = Look(lane, token, offset, nowUnixMs, out var record);
            if (hold == Hold.IsLost)
            {
                open.Lost++;
            }
            else if (hold == Hold.Holds && request.Kind == SettleKind.Extend)
            {
                extended = Extend(lane, offset, record, extended, request, nowUnixMs);
                open.Lost += extended is null ? 1 : 0;
            }
            else if (hold == Hold.Holds)
            {
                Settle(lane, offset, record, request, open, nowUnixMs);
            }
            else if (lane.Records.ContainsKey(offset))
            {
                AwaitWhatIsUnderWay(lane, offset, open);
            }
        }

        open.Left--;
        Answer(open);
    }

    /// <summary>The next command to propose; of each topic one at a time. False: nothing is to be committed.</summary>
    public bool TryTakeCommand(long nowUnixMs, int group, out SettleCommand command)
    {
        foreach (var lane in _lanes.Values)
        {
            if (lane.UnderWay is null && lane.Pending.First is { } first && first.Value.NotBeforeUnixMs <= nowUnixMs)
            {
                lane.Pending.RemoveFirst();
                lane.UnderWay = first.Value;
                command = new SettleCommand(group, lane.Topic, lane.Turn, first.Value.Ranges, first.Value.Deliveries);
                return true;
            }
        }

        command = default;
        return false;
    }

    /// <summary>What came of a command. Whoever has lost the leadership does not come here, but is made anew.</summary>
    public void OnSettled(int topic, int turn, RefusalCode code, long nowUnixMs)
    {
        if (!_lanes.TryGetValue(topic, out var lane) || lane.Turn != turn || lane.UnderWay is not { } batch)
        {
            return;
        }

        lane.UnderWay = null;
        if (code != RefusalCode.None)
        {
            // No room, or not taken: once more, which does no harm. When the group's place has changed, it is followed
            // anew in a moment.
            batch.NotBeforeUnixMs = nowUnixMs + RetryMs;
            lane.Pending.AddFirst(batch);
            return;
        }

        foreach (var range in batch.Ranges)
        {
            // Of a purge there may be many, of which nobody knew any.
            for (var offset = range.First; offset < range.End && lane.Records.Count > 0; offset++)
            {
                _known -= lane.Records.Remove(offset) ? 1 : 0;
            }
        }

        foreach (var request in batch.Requests)
        {
            request.Left--;
            Answer(request);
        }
    }

    /// <summary>
    /// The next record to bury: to be proposed together with a copy of it, then <see cref="OnBuried"/>. False: none.
    /// </summary>
    public bool TryTakeDying(long nowUnixMs, out DyingRecord dying)
    {
        for (var left = _dying.Count; left > 0; left--)
        {
            var (lane, offset, notBefore) = _dying.Dequeue();
            if (lane.IsGone)
            {
                continue;
            }

            if (notBefore > nowUnixMs)
            {
                _dying.Enqueue((lane, offset, notBefore));
                continue;
            }

            var record = lane.Records[offset];
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

        lane.Records.Remove(offset);
        _known--;
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
            var batch = lane.Gather();
            Put(lane, offset, new DispatchedRecord { State = RecordState.Settling, Deliveries = record.Deliveries });
            batch.Add(OffsetRange.One(offset));
            if (record.Request is { } request)
            {
                batch.Add(request);
                request.Left--;
            }
        }
    }

    /// <summary>Takes the answers that are there.</summary>
    public IReadOnlyList<SettleAnswer> TakeAnswers()
    {
        SettleAnswer[] answers = [.. _answers];
        _answers.Clear();
        return answers;
    }

    private void Settle(
        DispatchLane lane,
        long offset,
        in DispatchedRecord record,
        in SettleRequest request,
        OpenRequest open,
        long nowUnixMs)
    {
        switch (request.Kind)
        {
            case SettleKind.Nack:
                ComeBack(lane, offset, record, request.DelayMs, nowUnixMs, open);
                break;
            case SettleKind.Terminate when Settings.KeepsDeadLetters:
                Release(lane, record);
                Bury(lane, offset, record, request.Reason ?? "", open);
                break;
            default:
                Release(lane, record);
                Finish(lane, offset, record, open);
                break;
        }
    }

    private static void Finish(DispatchLane lane, long offset, in DispatchedRecord record, OpenRequest? open)
    {
        Put(lane, offset, new DispatchedRecord { State = RecordState.Settling, Deliveries = record.Deliveries });
        var batch = lane.Gather();
        batch.Add(OffsetRange.One(offset));
        if (open is not null)
        {
            batch.Add(open);
        }
    }

    /// <summary>A record was delivered in vain.</summary>
    private void ComeBack(
        DispatchLane lane, long offset, in DispatchedRecord record, long? delayMs, long nowUnixMs, OpenRequest? request)
    {
        Release(lane, record);
        if (IsTriedEnough(record.Deliveries))
        {
            Bury(lane, offset, record, null, request);
            return;
        }

        var waits = Settings.BackOffMs;
        var wait = delayMs ?? (waits.Length == 0 ? 0 : waits[Math.Min(record.Deliveries, waits.Length) - 1]);
        wait = Math.Clamp(wait, 0, Limits.GroupWaitMostMs);
        Wait(lane, offset, record.Deliveries, nowUnixMs + wait);
        var batch = lane.Gather();
        batch.Deliveries.Add(new DeliveryCount(offset, new Tried(record.Deliveries, wait)));
        if (request is not null)
        {
            batch.Add(request);
        }
    }

    private bool IsTriedEnough(int deliveries) => Settings.MaxDeliveries > 0 && deliveries >= Settings.MaxDeliveries;

    private void Bury(DispatchLane lane, long offset, in DispatchedRecord record, string? reason, OpenRequest? request)
    {
        if (!Settings.KeepsDeadLetters)
        {
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

    /// <summary>
    /// A token of an earlier leader, whose leases are forgotten, is as good as one of this leader's while its time has
    /// not come, while nobody else has the record, and when that delivery was not counted as one in vain.
    /// </summary>
    private Hold Look(
        DispatchLane lane, in DeliveryToken token, long offset, long nowUnixMs, out DispatchedRecord record)
    {
        var isOfBefore = token.Term < term.Value && nowUnixMs < token.DeadlineUnixMs && token.Attempt > 0;
        if (lane.Records.TryGetValue(offset, out record))
        {
            isOfBefore &= token.Attempt > record.Deliveries;
            switch (record.State)
            {
                case RecordState.Out:
                    return token.Term == term.Value && record.Lease!.Number == token.Lease ? Hold.Holds : Hold.IsLost;
                case RecordState.Waiting:
                    record.Deliveries = isOfBefore ? token.Attempt : record.Deliveries;
                    return isOfBefore ? Hold.Holds : Hold.IsLost;
                case RecordState.Dying:
                    return Hold.IsLost;
                default:
                    return Hold.IsSettled;
            }
        }

        if (!lane.IsFresh(offset))
        {
            return Hold.IsSettled;
        }

        record = new DispatchedRecord { State = RecordState.Waiting, Deliveries = token.Attempt };
        if (isOfBefore)
        {
            lane.TakeFreshAt(offset);
            _known++;
        }

        return isOfBefore ? Hold.Holds : Hold.IsLost;
    }

    /// <summary>Null: it is not out, but of an earlier leader, and comes again.</summary>
    private Lease? Extend(
        DispatchLane lane,
        long offset,
        in DispatchedRecord record,
        Lease? extended,
        in SettleRequest request,
        long nowUnixMs)
    {
        if (record.State != RecordState.Out)
        {
            Wait(lane, offset, record.Deliveries - 1, nowUnixMs);
            return null;
        }

        if (extended is null)
        {
            var asked = request.DelayMs is > 0 and var delay ? delay : Settings.AckWaitMs;
            var length = Math.Min(asked, Limits.GroupWaitMostMs);
            extended = record.Lease! with { DeadlineUnixMs = nowUnixMs + length };
            _leases.Enqueue(extended, extended.DeadlineUnixMs);
        }

        Put(lane, offset, record with { Lease = extended });
        return extended;
    }

    private static void AwaitWhatIsUnderWay(DispatchLane lane, long offset, OpenRequest open)
    {
        if (lane.UnderWay is { } batch && batch.Ranges.Exists(range => range.Contains(offset)))
        {
            batch.Add(open);
            return;
        }

        foreach (var pending in lane.Pending)
        {
            if (pending.Ranges.Exists(range => range.Contains(offset)))
            {
                pending.Add(open);
                return;
            }
        }
    }

    private void AnswerAll(DispatchLane lane)
    {
        var batches = lane.UnderWay is { } batch ? lane.Pending.Prepend(batch) : lane.Pending;
        var requests = batches.SelectMany(static each => each.Requests)
            .Concat(lane.Records.Values.Select(static record => record.Request).OfType<OpenRequest>());
        foreach (var request in requests.Distinct())
        {
            request.Left = 0;
            request.Lost++;
            Answer(request);
        }
    }

    private void Answer(OpenRequest request)
    {
        if (request.Left == 0)
        {
            _answers.Add(new SettleAnswer(request.Id, request.Lost));
        }
    }
}
