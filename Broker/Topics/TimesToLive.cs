using Broker.Domain;

namespace Broker.Topics;

/// <summary>
/// Which records of a stored batch are still worth delivering: those without a time to live, and those whose time is
/// not over. It counts from the batch's time. Here a record with ttl_ms 300 and value "v":
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
        var ageMs = (ulong)Math.Max(0, nowUnixMs - timestampUnixMs);
        var rest = batch;
        var run = default(AliveRun);
        while (RecordBatchScanner.TryTakeRecord(ref rest, out var record))
        {
            var isOver = TimeToLiveOf(record) is > 0 and var timeMs && timeMs <= ageMs;
            if (run.Count > 0 && isOver != run.IsOver)
            {
                return run;
            }

            run = new AliveRun(run.Count + 1, batch.Length - rest.Length, isOver);
        }

        Invariant.Check(run.Count > 0, "a stored batch has records");
        return run with { Bytes = batch.Length };
    }

    /// <summary>In milliseconds; 0: it has none.</summary>
    private static ulong TimeToLiveOf(ReadOnlySpan<byte> record)
    {
        var timeMs = 0UL;
        var reader = new WireReader(record);
        while (!reader.IsAtEnd)
        {
            // Of a field that is there twice the last one counts, as for every parser.
            var isField = reader.TryTakeTag(out var field, out var type);
            if (field == RecordBatchScanner.RecordTtl && type == WireReader.Varint
                && reader.TryTakeVarint(out var taken))
            {
                timeMs = taken;
            }
            else
            {
                Invariant.Check(isField && reader.TrySkip(type), "an accepted record is well formed");
            }
        }

        return timeMs;
    }
}

/// <summary>Records of a batch, one behind the other.</summary>
/// <param name="Count">How many.</param>
/// <param name="Bytes">What they take; what follows is a batch too.</param>
/// <param name="IsOver">Whether the time to live is over of all of them, or of none.</param>
internal readonly record struct AliveRun(int Count, int Bytes, bool IsOver);
