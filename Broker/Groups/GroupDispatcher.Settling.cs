using Broker.Domain;

namespace Broker.Groups;

/// <content>What consumers say of records, and what of it is to be committed.</content>
internal sealed partial class GroupDispatcher
{
    /// <summary>How long what the shard had no room for, or could not bury, waits for another try.</summary>
    private const long RetryMs = 500;

    private readonly Queue<DispatchLane> _toSettle = [];
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
            if (hold == Hold.IsLost
                || (record.Publishing > 0 && request.Kind is SettleKind.Nack or SettleKind.Terminate))
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
        for (var left = _toSettle.Count; left > 0; left--)
        {
            var lane = _toSettle.Dequeue();
            lane.IsToSettle = false;
            if (lane.IsGone || lane.UnderWay is not null || lane.Pending.First is not { } first)
            {
                continue;
            }

            if (first.Value.NotBeforeUnixMs > nowUnixMs)
            {
                QueueToSettle(lane);
                continue;
            }

            lane.Pending.RemoveFirst();
            lane.UnderWay = first.Value;
            command = new SettleCommand(group, lane.Topic, lane.Turn, first.Value.Ranges, first.Value.Deliveries);
            return true;
        }

        command = default;
        return false;
    }

    /// <summary>What came of a command. Whoever has lost the leadership does not come here, but is made anew.</summary>
    /// <param name="command">As it was taken: if its topic was left, another one may be under way by now.</param>
    /// <param name="code">None: it is committed.</param>
    /// <param name="nowUnixMs">The time.</param>
    public void OnSettled(in SettleCommand command, RefusalCode code, long nowUnixMs)
    {
        if (!_lanes.TryGetValue(command.Topic, out var lane) || lane.UnderWay is not { } batch
            || !ReferenceEquals(batch.Ranges, command.Ranges))
        {
            return;
        }

        lane.UnderWay = null;
        QueueToSettle(lane);
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
                if (lane.Remove(offset, out var record))
                {
                    _known--;
                    GoOn(record.Line, offset);
                }
            }
        }

        foreach (var request in batch.Requests)
        {
            request.Left--;
            Answer(request);
        }
    }

    /// <summary>Takes the answers that are there.</summary>
    public IReadOnlyList<SettleAnswer> TakeAnswers()
    {
        SettleAnswer[] answers = [.. _answers];
        _answers.Clear();
        return answers;
    }

    /// <summary>The batch of the topic that is committed next.</summary>
    private SettleBatch Gather(DispatchLane lane)
    {
        QueueToSettle(lane);
        return lane.Gather();
    }

    private void QueueToSettle(DispatchLane lane)
    {
        if (!lane.IsToSettle)
        {
            lane.IsToSettle = true;
            _toSettle.Enqueue(lane);
        }
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
                _tally.Acked += request.Kind == SettleKind.Ack ? 1 : 0;
                _tally.GivenUp += request.Kind == SettleKind.Ack ? 0 : 1;
                Release(lane, record);
                Finish(lane, offset, record, open);
                break;
        }
    }

    private void Finish(DispatchLane lane, long offset, in DispatchedRecord record, OpenRequest? open)
    {
        Put(lane, offset, new DispatchedRecord { State = RecordState.Settling, Deliveries = record.Deliveries });
        var batch = Gather(lane);
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
        _tally.Nacked += request is null ? 0 : 1;
        _tally.Lapsed += request is null ? 1 : 0;
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
        var batch = Gather(lane);
        batch.Deliveries.Add(new DeliveryCount(offset, new Tried(record.Deliveries, wait)));
        if (request is not null)
        {
            batch.Add(request);
        }
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

        // A dead letter may be out whose way back was not committed yet when the leader changed.
        if (!lane.IsFresh(offset) && !lane.IsDead(offset))
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
            extended = record.Lease! with { DeadlineUnixMs = nowUnixMs + length, Left = 0 };
            _leases.Enqueue(extended, extended.DeadlineUnixMs);
            _liveLeases++;
        }

        Leave(record.Lease);
        extended.Left++;
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
