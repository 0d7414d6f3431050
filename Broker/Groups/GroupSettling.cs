using Broker.Domain;

namespace Broker.Groups;

/// <summary>What consumers say of the records that they were given, and what of it is to be committed.</summary>
/// <param name="records">The group's.</param>
/// <param name="dying">Gets those that were tried often enough.</param>
internal sealed class GroupSettling(GroupRecords records, DyingRecords dying)
{
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
        if (!records.TryGet(token.Topic, token.Turn, out var lane) || token.Range.First < 0
            || token.Range.End > lane.Next || token.Range.Count is <= 0 or > GroupDispatcher.RunRecords)
        {
            open.Lost = (int)Math.Clamp(token.Range.Count, 0, int.MaxValue);
            records.ToSettle.Answer(open);
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
                SettleQueue.Await(lane, offset, open);
            }
        }

        records.ToSettle.EndOne(open);
    }

    /// <summary>The next command to propose; of each topic one at a time. False: nothing is to be committed.</summary>
    public bool TryTakeCommand(long nowUnixMs, int group, out SettleCommand command) =>
        records.ToSettle.TryTake(nowUnixMs, group, out command);

    /// <summary>What came of a command. Whoever has lost the leadership does not come here, but is made anew.</summary>
    /// <param name="command">As it was taken: if its topic was left, another one may be under way by now.</param>
    /// <param name="code">None: it is committed.</param>
    /// <param name="nowUnixMs">The time.</param>
    public void OnSettled(in SettleCommand command, RefusalCode code, long nowUnixMs)
    {
        if (!records.TryGet(command.Topic, out var lane) || lane.UnderWay is not { } batch
            || !ReferenceEquals(batch.Ranges, command.Ranges))
        {
            return;
        }

        if (!records.ToSettle.TryEnd(lane, batch, code, nowUnixMs))
        {
            return;
        }

        foreach (var range in batch.Ranges)
        {
            // Of a purge there may be many, of which nobody knew any.
            for (var offset = range.First; offset < range.End && lane.Records.Count > 0; offset++)
            {
                records.Remove(lane, offset, out _);
            }
        }

        foreach (var request in batch.Requests)
        {
            records.ToSettle.EndOne(request);
        }
    }

    /// <summary>Takes the answers that are there.</summary>
    public IReadOnlyList<SettleAnswer> TakeAnswers() => records.ToSettle.TakeAnswers();

    /// <summary>
    /// Which of the records are not the consumer's any more. One that is settled is not among them: it may have been by
    /// the same request, of which the answer was not heard; that is decided where it is applied. A token of an earlier
    /// leader names no lease of this one's.
    /// </summary>
    public void FindLost(in DeliveryToken token, ICollection<long> lost)
    {
        var isKnown = records.TryGet(token.Topic, token.Turn, out var lane)
            && token.Range.First >= 0 && token.Range.End <= lane.Next;
        for (var offset = token.Range.First; offset < token.Range.End; offset++)
        {
            if (!isKnown || IsLost(lane!, token, offset))
            {
                lost.Add(offset);
            }
        }
    }

    /// <summary>A request is under way; <see cref="EndPublishing"/> says what came of it.</summary>
    public void BeginPublishing(in DeliveryToken token) => OfConsumer(token, static (lane, offset, record) =>
        lane.Put(offset, record with { Publishing = record.Publishing + 1 }));

    /// <summary>Whoever has lost the leadership does not come here, but is made anew.</summary>
    /// <param name="token">As the request began with it.</param>
    /// <param name="isDone">The records are settled; else they are the consumer's as before.</param>
    /// <param name="nowUnixMs">The time.</param>
    public void EndPublishing(in DeliveryToken token, bool isDone, long nowUnixMs)
    {
        if (!isDone)
        {
            OfConsumer(token, (of, offset, record) =>
            {
                record.Publishing = Math.Max(0, record.Publishing - 1);
                of.Put(offset, record);
                if (record.Publishing == 0 && record.Lease!.DeadlineUnixMs <= nowUnixMs)
                {
                    ComeBack(of, offset, record, delayMs: null, nowUnixMs, request: null);
                }
            });
            return;
        }

        if (!records.TryGet(token.Topic, token.Turn, out var lane))
        {
            return;
        }

        for (var offset = token.Range.First; offset < token.Range.End; offset++)
        {
            if (!lane.Records.TryGetValue(offset, out var record))
            {
                if (lane.IsFresh(offset))
                {
                    lane.TakeFreshAt(offset);
                }
            }
            else if (record.State is RecordState.Out or RecordState.Waiting)
            {
                records.Release(lane, record);
                records.Tally.Acked++;
                records.Remove(lane, offset, out _);
            }
        }
    }

    /// <summary>A record was delivered in vain.</summary>
    public void ComeBack(
        DispatchLane lane, long offset, in DispatchedRecord record, long? delayMs, long nowUnixMs, OpenRequest? request)
    {
        records.Tally.Nacked += request is null ? 0 : 1;
        records.Tally.Lapsed += request is null ? 1 : 0;
        records.Release(lane, record);
        if (IsTriedEnough(record.Deliveries))
        {
            Bury(lane, offset, record, null, request);
            return;
        }

        var waits = records.Settings.BackOffMs;
        var wait = delayMs ?? (waits.Length == 0 ? 0 : waits[Math.Min(record.Deliveries, waits.Length) - 1]);
        wait = Math.Clamp(wait, 0, Limits.GroupWaitMostMs);
        records.Wait(lane, offset, record.Deliveries, nowUnixMs + wait);
        var batch = records.ToSettle.Gather(lane);
        batch.Deliveries.Add(new DeliveryCount(offset, new Tried(record.Deliveries, wait)));
        if (request is not null)
        {
            batch.Add(request);
        }
    }

    /// <summary>A record is given up.</summary>
    public void Bury(DispatchLane lane, long offset, in DispatchedRecord record, string? reason, OpenRequest? request)
    {
        if (records.Settings.KeepsDeadLetters)
        {
            dying.Add(lane, offset, record.Deliveries, reason, request);
            return;
        }

        records.Tally.GivenUp++;
        Finish(lane, offset, record, request);
    }

    /// <summary>So often delivered in vain, it is given up.</summary>
    public bool IsTriedEnough(int deliveries) =>
        records.Settings.MaxDeliveries > 0 && deliveries >= records.Settings.MaxDeliveries;

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
            case SettleKind.Terminate when records.Settings.KeepsDeadLetters:
                records.Release(lane, record);
                Bury(lane, offset, record, request.Reason ?? "", open);
                break;
            default:
                records.Tally.Acked += request.Kind == SettleKind.Ack ? 1 : 0;
                records.Tally.GivenUp += request.Kind == SettleKind.Ack ? 0 : 1;
                records.Release(lane, record);
                Finish(lane, offset, record, open);
                break;
        }
    }

    private void Finish(DispatchLane lane, long offset, in DispatchedRecord record, OpenRequest? open)
    {
        var batch = records.Settle(lane, offset, record.Deliveries);
        if (open is not null)
        {
            batch.Add(open);
        }
    }

    /// <summary>
    /// A token of an earlier leader, whose leases are forgotten, is as good as one of this leader's while its time has
    /// not come, while nobody else has the record, and when that delivery was not counted as one in vain.
    /// </summary>
    private Hold Look(
        DispatchLane lane, in DeliveryToken token, long offset, long nowUnixMs, out DispatchedRecord record)
    {
        var isOfBefore = token.Term < records.Term.Value && nowUnixMs < token.DeadlineUnixMs && token.Attempt > 0;
        if (lane.Records.TryGetValue(offset, out record))
        {
            isOfBefore &= token.Attempt > record.Deliveries;
            switch (record.State)
            {
                case RecordState.Out:
                    return IsNamed(record, token) ? Hold.Holds : Hold.IsLost;
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
            records.TakeFreshAt(lane, offset);
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
            records.Wait(lane, offset, record.Deliveries - 1, nowUnixMs);
            return null;
        }

        if (extended is null)
        {
            var asked = request.DelayMs is > 0 and var delay ? delay : records.Settings.AckWaitMs;
            extended = records.Leases.Extend(record.Lease!, nowUnixMs + Math.Min(asked, Limits.GroupWaitMostMs));
        }

        records.Leases.Leave(record.Lease);
        extended.Left++;
        lane.Put(offset, record with { Lease = extended });
        return extended;
    }

    private bool IsLost(DispatchLane lane, in DeliveryToken token, long offset) =>
        lane.Records.TryGetValue(offset, out var record)
            ? record.State is RecordState.Waiting or RecordState.Dying
                || (record.State == RecordState.Out && !IsNamed(record, token))
            : lane.IsFresh(offset);

    private bool IsNamed(in DispatchedRecord record, in DeliveryToken token) => record.State == RecordState.Out
        && token.Term == records.Term.Value && record.Lease!.Number == token.Lease;

    private void OfConsumer(in DeliveryToken token, Action<DispatchLane, long, DispatchedRecord> then)
    {
        if (!records.TryGet(token.Topic, token.Turn, out var lane))
        {
            return;
        }

        for (var offset = token.Range.First; offset < token.Range.End; offset++)
        {
            if (lane.Records.TryGetValue(offset, out var record) && IsNamed(record, token))
            {
                then(lane, offset, record);
            }
        }
    }
}
