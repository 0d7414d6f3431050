namespace Broker.Groups;

/// <summary>Where a record of a group is on its way, as operators see it. Numbers go over the wire.</summary>
internal enum PeekState
{
    /// <summary>Goes to the next consumer that has room.</summary>
    Waiting = 1,

    /// <summary>A consumer has it.</summary>
    Outstanding = 2,

    /// <summary>It comes again, and is not due yet.</summary>
    Delayed = 3,
}

/// <summary>A record in the state that was asked for.</summary>
/// <param name="Offset">Its offset.</param>
/// <param name="Deliveries">How often it was delivered, the time under way included.</param>
/// <param name="Consumer">Whose it is, while it is out. It may have gone since.</param>
/// <param name="Rank">Which one of that name.</param>
/// <param name="UntilUnixMs">When the lease ends, or the record is due. 0: neither.</param>
internal readonly record struct PeekedOffset(
    long Offset, int Deliveries, string Consumer = "", ConsumerRank Rank = default, long UntilUnixMs = 0);

/// <summary>Looks at the records of one topic of a group that are in one state.</summary>
internal static class RecordPeek
{
    /// <summary>The first ones from an offset on, in order, and not more than so many.</summary>
    public static List<PeekedOffset> Take(DispatchLane lane, PeekState state, long from, int most, long nowUnixMs)
    {
        var found = lane.Records
            .Where(each => each.Key >= from && IsIn(state, each.Value, nowUnixMs))
            .Select(static each => (Offset: each.Key, Record: each.Value))
            .OrderBy(static each => each.Offset)
            .Take(most)
            .Select(static each => Of(each.Offset, each.Record));
        return state == PeekState.Waiting && lane.HasFresh
            ? [.. found.Concat(Fresh(lane, from).Take(most)).OrderBy(static each => each.Offset).Take(most)]
            : [.. found];
    }

    private static bool IsIn(PeekState state, in DispatchedRecord record, long nowUnixMs) => state switch
    {
        PeekState.Outstanding => record.State == RecordState.Out,
        PeekState.Delayed => record.State == RecordState.Waiting && record.DueUnixMs > nowUnixMs,
        _ => record.State == RecordState.Waiting && record.DueUnixMs <= nowUnixMs,
    };

    private static PeekedOffset Of(long offset, in DispatchedRecord record) => record.Lease is { } lease
        ? new PeekedOffset(offset, record.Deliveries, lease.By.Name, lease.By.Rank, lease.DeadlineUnixMs)
        : new PeekedOffset(offset, record.Deliveries, UntilUnixMs: record.DueUnixMs);

    private static IEnumerable<PeekedOffset> Fresh(DispatchLane lane, long from)
    {
        for (var at = lane.FirstUnsettled(from, isFresh: true); at < lane.Next; at = lane.Taken.FirstMissing(at + 1))
        {
            yield return new PeekedOffset(at, 0);
        }
    }
}
