using Broker.State;

namespace Broker.Topics;

/// <summary>
/// When the records of a batch are to be delivered to groups. Here a record that is due at 1,000 ms and has value "v":
/// <code>
/// 0A 06         records[0], 6 bytes
///   12 01 76    value "v"
///   28 E8 07    deliver_at_unix_ms 1000
/// </code>
/// </summary>
internal static class DeliveryTimes
{
    /// <summary>What the list may need for each record that has a time.</summary>
    private const int MostBytesEach = 2 * PayloadWriter.MaxVarintBytes;

    /// <summary>The records of a stored publish that are not due when they are stored, in order.</summary>
    public static List<DelayedPlace> FindDelayed(in PublishCommand publish, long timestampUnixMs)
    {
        var found = Find(publish);
        found.RemoveAll(place => place.DueUnixMs <= timestampUnixMs);
        return found;
    }

    /// <summary>
    /// Of a publish that loses its batch what <see cref="FindDelayed"/> must still find: for each record with a time a
    /// varint with how many lie between it and the one before, and a varint with the time; after a varint with how many
    /// there are.
    /// </summary>
    public static void Write(ref PayloadWriter writer, in PublishCommand publish)
    {
        var found = Find(publish);
        writer.PutVarint((ulong)found.Count);
        var next = 0;
        foreach (var (record, dueUnixMs) in found)
        {
            writer.PutVarint((ulong)(record - next));
            writer.PutVarint((ulong)dueUnixMs);
            next = record + 1;
        }
    }

    /// <summary>What <see cref="Write"/> may need.</summary>
    public static int MaxBytes(in PublishCommand publish) => !publish.MayBeDelayed
        ? 0
        : PayloadWriter.MaxVarintBytes
            + (publish.IsThinned ? publish.Delays.Length : Find(publish).Count * MostBytesEach);

    /// <summary>Takes such a list off a payload.</summary>
    public static ReadOnlySpan<byte> Take(scoped ref PayloadReader reader)
    {
        var all = reader.Rest;
        for (var left = reader.TakeVarint32(); left > 0; left--)
        {
            reader.TakeVarint32();
            reader.TakeVarint();
        }

        return all[..^reader.Rest.Length];
    }

    private static List<DelayedPlace> Find(in PublishCommand publish)
    {
        var found = new List<DelayedPlace>();
        if (publish.IsThinned)
        {
            var reader = new PayloadReader(publish.Delays);
            var next = 0;
            for (var left = reader.TakeVarint32(); left > 0; left--)
            {
                next += reader.TakeVarint32();
                found.Add(new DelayedPlace(next++, (long)reader.TakeVarint()));
            }

            return found;
        }

        var rest = publish.Batch;
        for (var number = 0; RecordBatchScanner.TryTakeRecord(ref rest, out var record); number++)
        {
            var (_, deliverAtUnixMs) = TimesToLive.TimesOf(record);
            if (deliverAtUnixMs > 0)
            {
                found.Add(new DelayedPlace(number, deliverAtUnixMs));
            }
        }

        return found;
    }
}

/// <param name="Record">Which record of its batch, from 0.</param>
/// <param name="DueUnixMs">When groups may have it.</param>
internal readonly record struct DelayedPlace(int Record, long DueUnixMs);
