using Broker.Domain;

namespace Broker.Topics;

/// <summary>
/// Which records of a stored batch are still worth delivering: those without a time to live, and those whose time is
/// not over. It counts from the batch's time, or from when the record is due. And which are delayed: a group gets them
/// by another place (<see cref="DueTopic"/>). Here a record with ttl_ms 300 and value "v":
/// <code>
/// 0A 06         records[0], 6 bytes
///   12 01 76    value "v"
///   20 AC 02    ttl_ms 300
/// </code>
/// </summary>
internal static class TimesToLive
{
    /// <summary>
    /// The records at the beginning of a batch that are alike, which is all of it in most cases. The batch has records,
    /// and the scan has accepted it.
    /// </summary>
    public static AliveRun FirstRun(ReadOnlySpan<byte> batch, long timestampUnixMs, long nowUnixMs)
    {
        var rest = batch;
        var run = default(AliveRun);
        while (RecordBatchScanner.TryTakeRecord(ref rest, out var record))
        {
            var (timeMs, deliverAtUnixMs) = TimesOf(record);

            // By the batch's time, not by the clock: so all leaders say the same, and the same as the schedule.
            var isDelayed = deliverAtUnixMs > timestampUnixMs;
            var isOver = !isDelayed && IsOver(timeMs, timestampUnixMs, nowUnixMs);
            if (run.Count > 0 && (isOver != run.IsOver || isDelayed != run.IsDelayed))
            {
                return run;
            }

            run = new AliveRun(run.Count + 1, batch.Length - rest.Length, isOver, isDelayed);
        }

        Invariant.Check(run.Count > 0, "a stored batch has records");
        return run with { Bytes = batch.Length };
    }

    /// <summary>Whether the time to live of a delayed record is over, which is the batch's only one.</summary>
    public static bool IsOverOfDelayed(ReadOnlySpan<byte> batch, long nowUnixMs)
    {
        var isRecord = RecordBatchScanner.TryTakeRecord(ref batch, out var record);
        Invariant.Check(isRecord, "a stored batch has records");
        var (timeMs, deliverAtUnixMs) = TimesOf(record);
        return IsOver(timeMs, deliverAtUnixMs, nowUnixMs);
    }

    /// <summary>
    /// The time to live in milliseconds, 0 when it has none; and when it is to be delivered, 0 when that is not said.
    /// </summary>
    internal static (ulong TimeMs, long DeliverAtUnixMs) TimesOf(ReadOnlySpan<byte> record)
    {
        var (timeMs, deliverAt) = (0UL, 0UL);
        var reader = new WireReader(record);
        while (!reader.IsAtEnd)
        {
            // Of a field that is there twice the last one counts, as for every parser.
            var isField = reader.TryTakeTag(out var field, out var type);
            if (field is RecordBatchScanner.RecordTtl or RecordBatchScanner.RecordDeliverAt
                && type == WireReader.Varint && reader.TryTakeVarint(out var taken))
            {
                timeMs = field == RecordBatchScanner.RecordTtl ? taken : timeMs;
                deliverAt = field == RecordBatchScanner.RecordDeliverAt ? taken : deliverAt;
            }
            else
            {
                Invariant.Check(isField && reader.TrySkip(type), "an accepted record is well formed");
            }
        }

        return (timeMs, (long)deliverAt);
    }

    private static bool IsOver(ulong timeMs, long sinceUnixMs, long nowUnixMs) =>
        timeMs > 0 && nowUnixMs >= sinceUnixMs && timeMs <= (ulong)(nowUnixMs - sinceUnixMs);
}

/// <summary>Records of a batch, one behind the other.</summary>
/// <param name="Count">How many.</param>
/// <param name="Bytes">What they take; what follows is a batch too.</param>
/// <param name="IsOver">Whether the time to live is over of all of them, or of none.</param>
/// <param name="IsDelayed">Whether all of them were not due when they were stored, or none.</param>
internal readonly record struct AliveRun(int Count, int Bytes, bool IsOver, bool IsDelayed = false);
