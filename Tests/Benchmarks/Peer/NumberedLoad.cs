using System.Buffers.Binary;
using Broker.Client;

namespace Broker.Tests.Benchmarks.Peer;

/// <summary>
/// Publishes entries with numbers in their records and keeps the number of each entry that was acknowledged, so that
/// what is read back after a crash can be compared record by record. Record k of entry n has number n * records + k in
/// its first eight bytes.
/// </summary>
internal static class NumberedLoad
{
    /// <summary>What is published after the restart: when it is committed, everything before it is.</summary>
    public const long Marker = -1;

    /// <summary>The bytes of an entry: its records one after the other.</summary>
    public static byte[] Entry(long number, int records)
    {
        var entry = PublishLoad.Payload(records * LogLoad.RecordBytes);
        for (var k = 0; k < records; k++)
        {
            BinaryPrimitives.WriteInt64LittleEndian(
                entry.AsSpan(k * LogLoad.RecordBytes), number == Marker ? Marker : (number * records) + k);
        }

        return entry;
    }

    /// <summary>The numbers of the records of an entry.</summary>
    public static IEnumerable<long> Numbers(ReadOnlyMemory<byte> entry)
    {
        for (var at = 0; at < entry.Length; at += LogLoad.RecordBytes)
        {
            yield return BinaryPrimitives.ReadInt64LittleEndian(entry.Span[at..]);
        }
    }

    /// <summary>
    /// Publishes until it is told to stop; then waits for the answers that are still due, which come or fail once the
    /// client is disposed. A publish that fails has an unknown outcome and is not counted.
    /// </summary>
    /// <returns>The numbers that were acknowledged.</returns>
    public static async Task<List<long>> RunAsync<TAck>(
        int window, Func<long, ValueTask<TAck>> publish, CancellationToken stop)
    {
        await Task.Yield();
        var ring = new ValueTask<TAck>[window];
        var acknowledged = new List<long>();
        for (long published = 0, answered = 0; ; answered++)
        {
            for (; published - answered < window && !stop.IsCancellationRequested; published++)
            {
                try
                {
                    ring[published % window] = publish(published);
                }
                catch (ObjectDisposedException) when (stop.IsCancellationRequested)
                {
                    // Told to stop, and the client disposed, between the look and the call.
                    break;
                }
            }

            if (answered == published)
            {
                return acknowledged;
            }

            try
            {
                await ring[answered % window];
                acknowledged.Add(answered);
            }
            catch (Exception error)
                when (error is BrokerClientException or IOException or ObjectDisposedException)
            {
                // Not acknowledged: it may be there or not.
            }
        }
    }

    /// <summary>Compares what was acknowledged with what is there.</summary>
    public static KillResult Compare(List<long> acknowledged, int records, HashSet<long> present) => new(
        acknowledged.Count * (long)records,
        acknowledged.Sum(number => Enumerable.Range(0, records).LongCount(
            k => !present.Contains((number * records) + k))));
}
