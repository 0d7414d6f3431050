using Broker.Groups;
using Broker.Topics;

namespace Broker.Delivery;

/// <summary>
/// Reads records one by one from a shard's log: what dies, and what delayed records' references name when they are due.
/// One thread at a time.
/// </summary>
internal sealed class SingleRecords(ShardPlace shard)
{
    /// <summary>In place of a reference that is gone.</summary>
    public const long Gone = -1;

    private readonly List<long> _one = [];

    /// <summary>False: not now. No bytes: it is gone.</summary>
    public bool TryRead(in TopicView view, long offset, out StoredRecord record)
    {
        record = new StoredRecord(view, offset, 0, default);
        if (shard.Reader.ReadRange(view, offset, offset + 1) is not { } page)
        {
            return shard.Reader.FindGoneEnd(view, offset, offset + 1) > offset;
        }

        foreach (var batch in page.Batches)
        {
            if (batch.BaseOffset <= offset && offset < batch.BaseOffset + batch.Count)
            {
                var bytes = Slice(batch, OffsetRange.One(offset));
                record = record with { Bytes = bytes, TimestampUnixMs = batch.TimestampUnixMs };
            }
        }

        return true;
    }

    /// <summary>
    /// The offsets that references of a topic of what is due name, from the first one on; fewer than are wanted where
    /// that is what one read gives. False: not now.
    /// </summary>
    public bool TryReadReferences(in TopicView due, OffsetRange range, List<long> into)
    {
        into.Clear();
        var page = shard.Reader.ReadRange(due, range.First, range.End);
        var end = page is not null
            ? Math.Min(range.End, page.NextOffset)
            : shard.Reader.FindGoneEnd(due, range.First, range.End);
        foreach (var batch in page?.Batches ?? [])
        {
            Pad(into, Math.Min(batch.BaseOffset, end) - range.First);
            var rest = batch.Batch.Span;
            for (var at = batch.BaseOffset; at < end && !rest.IsEmpty; at++)
            {
                var offset = DueTopic.TakeReference(ref rest);
                if (at == range.First + into.Count)
                {
                    into.Add(offset);
                }
            }
        }

        Pad(into, end - range.First);
        return into.Count > 0;
    }

    /// <summary>The record that a reference names. False: not now. No bytes: it is gone.</summary>
    public bool TryFollow(in TopicView due, long reference, out StoredRecord record)
    {
        record = default;
        if (reference == Gone || !shard.Topics.TryGetTopic(DueTopic.TargetOf(due.Name), out var view))
        {
            return true;
        }

        // Both go together, this one last: while it is there the other one is the topic that it belongs to.
        return !shard.Topics.TryGetTopic(due.Name, out var still) || still.Number != due.Number
            || TryRead(view, reference, out record);
    }

    /// <summary>
    /// The record at a place that a group follows, or the one that a reference there names. False: not now. No bytes:
    /// it is gone.
    /// </summary>
    public bool TryReadOrFollow(in TopicView view, long offset, out StoredRecord record)
    {
        if (!DueTopic.IsOne(view.Name))
        {
            return TryRead(view, offset, out record);
        }

        record = default;
        return TryReadReferences(view, OffsetRange.One(offset), _one) && TryFollow(view, _one[0], out record);
    }

    /// <summary>The part of a batch that lies in a range.</summary>
    public static ReadOnlyMemory<byte> Slice(in CommittedBatch batch, OffsetRange range)
    {
        var bytes = batch.Batch;
        if (range.First > batch.BaseOffset)
        {
            bytes = bytes[RecordBatchScanner.PositionAfter(bytes.Span, (int)(range.First - batch.BaseOffset))..];
        }

        return range.End < batch.BaseOffset + batch.Count
            ? bytes[..RecordBatchScanner.PositionAfter(bytes.Span, (int)range.Count)]
            : bytes;
    }

    private static void Pad(List<long> into, long count)
    {
        while (into.Count < count)
        {
            into.Add(Gone);
        }
    }
}

/// <summary>One record, or some of a batch that follow each other.</summary>
/// <param name="View">The topic in which it is.</param>
/// <param name="Offset">Where it is there.</param>
/// <param name="TimestampUnixMs">The time of its batch.</param>
/// <param name="Bytes">A batch of it alone; empty: it is gone.</param>
internal readonly record struct StoredRecord(
    TopicView View, long Offset, long TimestampUnixMs, ReadOnlyMemory<byte> Bytes);
