using System.Buffers.Binary;
using Broker.State;

namespace Broker.Topics;

/// <summary>
/// Which partition the records of a batch belong to, as broker.proto says (PublishRequest.partition): clients in other
/// languages compute the same. For batches that the scan has accepted.
/// </summary>
internal static class BatchPartitions
{
    /// <summary>No record has a key.</summary>
    public const int NoKey = -1;

    /// <summary>The keys belong to more than one partition.</summary>
    public const int Several = -2;

    public static int OfKey(ReadOnlySpan<byte> key, int partitions) =>
        (int)(StableHash.Compute(key) % (ulong)partitions);

    public static int OfProducer(ulong producerId, int partitions)
    {
        Span<byte> id = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(id, producerId);
        return OfKey(id, partitions);
    }

    /// <summary>The one partition of all keys, or why there is none.</summary>
    public static int Find(ReadOnlySpan<byte> batch, int partitions)
    {
        var found = NoKey;
        while (RecordBatchScanner.TryTakeRecord(ref batch, out var record))
        {
            var key = RecordBatchScanner.KeyOf(record);
            if (key.IsEmpty)
            {
                continue;
            }

            var partition = OfKey(key, partitions);
            if (found != NoKey && found != partition)
            {
                return Several;
            }

            found = partition;
        }

        return found;
    }

    /// <summary>
    /// Takes a batch apart, in the order of partitions. Records without a key go where the first one with a key goes.
    /// </summary>
    public static List<BatchPart> Split(ReadOnlyMemory<byte> batch, int partitions)
    {
        var parts = new SortedDictionary<int, (List<uint> Numbers, List<Range> Places)>();
        var withoutKey = FirstWithKey(batch.Span, partitions);
        var rest = batch.Span;
        for (var number = 0U; RecordBatchScanner.TryTakeRecord(ref rest, out var record); number++)
        {
            var key = RecordBatchScanner.KeyOf(record);
            var partition = key.IsEmpty ? withoutKey : OfKey(key, partitions);
            if (!parts.TryGetValue(partition, out var part))
            {
                parts[partition] = part = ([], []);
            }

            var end = batch.Length - rest.Length;
            part.Numbers.Add(number);
            part.Places.Add((end - record.Length)..end);
        }

        return [.. parts.Select(pair => new BatchPart(
            pair.Key, pair.Value.Numbers, Join(batch.Span, pair.Value.Places)))];
    }

    private static int FirstWithKey(ReadOnlySpan<byte> batch, int partitions)
    {
        while (RecordBatchScanner.TryTakeRecord(ref batch, out var record))
        {
            if (RecordBatchScanner.KeyOf(record) is { IsEmpty: false } key)
            {
                return OfKey(key, partitions);
            }
        }

        return 0;
    }

    /// <summary>Each record gets a tag and a length again, in their shortest form.</summary>
    private static byte[] Join(ReadOnlySpan<byte> batch, List<Range> records)
    {
        var bytes = 0;
        foreach (var place in records)
        {
            bytes += RecordBatchScanner.FramedBytes(batch[place].Length);
        }

        var joined = new byte[bytes];
        var at = 0;
        foreach (var place in records)
        {
            at += RecordBatchScanner.WriteRecord(batch[place], joined.AsSpan(at));
        }

        return joined;
    }
}

/// <param name="Partition">From 0.</param>
/// <param name="Records">Which records of the whole batch these are.</param>
/// <param name="Batch">They alone, as a batch.</param>
internal sealed record BatchPart(int Partition, IReadOnlyList<uint> Records, ReadOnlyMemory<byte> Batch);
