namespace Broker.Groups;

/// <content>
/// Records that are finished by the command which publishes what their consumers have made of them. Whether it takes
/// effect is decided where it is applied; here is seen to it that a record comes to nobody else meanwhile.
/// </content>
internal sealed partial class GroupDispatcher
{
    /// <summary>
    /// Which of the records are not the consumer's any more. One that is settled is not among them: it may have been by
    /// the same request, of which the answer was not heard; that is decided where it is applied. A token of an earlier
    /// leader names no lease of this one's.
    /// </summary>
    public void FindLost(in DeliveryToken token, ICollection<long> lost)
    {
        var isKnown = _lanes.TryGetValue(token.Topic, out var lane) && lane.Turn == token.Turn
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
        Put(lane, offset, record with { Publishing = record.Publishing + 1 }));

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
                Put(of, offset, record);
                if (record.Publishing == 0 && record.Lease!.DeadlineUnixMs <= nowUnixMs)
                {
                    ComeBack(of, offset, record, delayMs: null, nowUnixMs, request: null);
                }
            });
            return;
        }

        if (!_lanes.TryGetValue(token.Topic, out var lane) || lane.Turn != token.Turn)
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
                Release(lane, record);
                lane.Remove(offset, out record);
                _known--;
                _tally.Acked++;
                GoOn(record.Line, offset);
            }
        }
    }

    private bool IsLost(DispatchLane lane, in DeliveryToken token, long offset) =>
        lane.Records.TryGetValue(offset, out var record)
            ? record.State is RecordState.Waiting or RecordState.Dying
                || (record.State == RecordState.Out && !IsNamed(record, token))
            : lane.IsFresh(offset);

    private bool IsNamed(in DispatchedRecord record, in DeliveryToken token) => record.State == RecordState.Out
        && token.Term == term.Value && record.Lease!.Number == token.Lease;

    private void OfConsumer(in DeliveryToken token, Action<DispatchLane, long, DispatchedRecord> then)
    {
        if (!_lanes.TryGetValue(token.Topic, out var lane) || lane.Turn != token.Turn)
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
