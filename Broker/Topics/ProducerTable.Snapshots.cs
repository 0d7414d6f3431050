using Broker.Domain;
using Broker.State;

namespace Broker.Topics;

/// <summary>
/// The table's part of a snapshot: every producer with all that it may repeat, the one that was silent longest first,
/// as it stands in the table. A remembered batch begins where the one before it ended.
/// <code>
/// varint producers
/// producer: u64 id | varint epoch | varint first sequence | varint sequences from there to the oldest remembered batch
///           | varint remembered batches
/// batch, oldest first: varint records | varint offsets since the end of the one before (of 0) | varint time since it
/// </code>
/// Producer 7 in epoch 1 began with sequence 3, which was one record, stored with offset 2 at time 900:
/// <code>
/// 01 | 07 00 00 00 00 00 00 00 | 01 | 03 | 00 | 01 | 01 | 02 | 84 07
/// </code>
/// </summary>
internal sealed partial class ProducerTable
{
    private const int LeastProducerBytes = sizeof(ulong) + 4 + LeastBatchBytes;
    private const int LeastBatchBytes = 3;

    /// <summary>Null: no producer.</summary>
    public static void Write(ProducerTable? table, ref SnapshotWriter writer)
    {
        writer.PutVarint(table?.Count ?? 0);
        for (var producer = table?._oldest; producer is not null; producer = producer.Newer)
        {
            writer.PutUInt64(producer.Id);
            writer.PutVarint(producer.Epoch);
            writer.PutVarint(producer.FirstSequence);
            writer.PutVarint(producer.Remembered(0).FirstSequence - producer.FirstSequence);
            writer.PutVarint(producer.RememberedCount);
            var (offset, timestampUnixMs) = (0L, 0L);
            for (var i = 0; i < producer.RememberedCount; i++)
            {
                var batch = producer.Remembered(i);
                writer.PutVarint(batch.Count);
                writer.PutVarint(batch.BaseOffset - offset);
                writer.PutVarint(batch.TimestampUnixMs - timestampUnixMs);
                (offset, timestampUnixMs) = (batch.BaseOffset + batch.Count, batch.TimestampUnixMs);
            }
        }
    }

    /// <summary>Of a topic with that next offset, whose last batch came at that time.</summary>
    public static ProducerTable? Read(
        ref SnapshotReader reader, int maxProducers, long nextOffset, long lastTimestampUnixMs)
    {
        var left = reader.TakeCount(maxProducers, LeastProducerBytes);
        if (left == 0)
        {
            return null;
        }

        var table = new ProducerTable(maxProducers);
        for (; left > 0; left--)
        {
            var producer = ReadProducer(ref reader, nextOffset, lastTimestampUnixMs);
            reader.Check(table._producers.TryAdd(producer.Id, producer), "a producer stands in it once");
            table.LinkNewest(producer);
        }

        return table;
    }

    private static ProducerState ReadProducer(ref SnapshotReader reader, long nextOffset, long lastTimestampUnixMs)
    {
        var producer = new ProducerState(reader.TakeUInt64());
        reader.Check(producer.Id != 0, "a producer has an id");
        var epoch = (uint)reader.TakeVarint(uint.MaxValue);
        var first = reader.TakeVarint();
        var forgotten = reader.TakeVarint();
        reader.Check(forgotten <= ulong.MaxValue - first, "a sequence has at most 64 bits");
        producer.BeginEpoch(epoch, first);
        var left = reader.TakeCount(Limits.RememberedBatchesPerProducer, LeastBatchBytes);
        reader.Check(left > 0, "a producer is known by a batch");
        var (sequence, offset, timestampUnixMs) = (first + forgotten, 0L, 0L);
        for (; left > 0; left--)
        {
            var count = (int)reader.TakeVarint(int.MaxValue);
            reader.Check(count > 0, "a batch has records");
            reader.Check((ulong)count <= ulong.MaxValue - sequence, "a sequence has at most 64 bits");
            offset += reader.TakeVarint(nextOffset - offset);
            timestampUnixMs += reader.TakeVarint(lastTimestampUnixMs - timestampUnixMs);
            reader.Check(count <= nextOffset - offset, "a batch lies before its topic's next offset");
            producer.Remember(new RememberedBatch(sequence, count, offset, timestampUnixMs));
            sequence += (ulong)count;
            offset += count;
        }

        return producer;
    }
}
