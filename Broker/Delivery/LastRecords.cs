using Broker.Domain;
using Broker.Topics;

namespace Broker.Delivery;

/// <summary>Finds the last record of each key of a topic, and takes the others out of what a reader gets.</summary>
internal static class LastRecords
{
    /// <summary>
    /// Which records before an end a later one of their key has replaced, by reading all of them once; null: this
    /// replica cannot give all of them.
    /// </summary>
    /// <exception cref="BrokerException">ResourceExhausted: too many keys or offsets. Overloaded: too many at once.
    /// </exception>
    public static KeyJudgement? Find(
        TopicView topic,
        long end,
        Func<LogIndex, LogIndex, int, ICollection<LogEntry>, int> readEntries,
        SemaphoreSlim places,
        CancellationToken cancellationToken)
    {
        if (end - topic.FirstOffset > Limits.OffsetsPerScan)
        {
            throw Refusal.TooManyKeys(topic.Name, "more offsets", Limits.OffsetsPerScan);
        }

        if (!places.Wait(0, CancellationToken.None))
        {
            throw Refusal.Overloaded(
                $"The list of reads of the last record of each key on this node ({Limits.KeyReadsAtOnce})",
                TimeSpan.FromSeconds(1));
        }

        try
        {
            var scan = new KeyScan(topic, end, topic.Compacted, [], readEntries);
            while (!scan.IsDone)
            {
                cancellationToken.ThrowIfCancellationRequested();
                scan.Advance(Limits.ReadResponseBytes);
                if (scan.HasTooManyKeys)
                {
                    throw Refusal.TooManyKeys(topic.Name, "more keys", Limits.KeysPerScan);
                }
            }

            return scan.Judgement.IsIncomplete ? null : scan.Judgement;
        }
        finally
        {
            places.Release();
        }
    }

    /// <summary>What is left of batches; what lies at the end or later stays out.</summary>
    public static List<CommittedBatch> Of(
        IReadOnlyList<CommittedBatch> batches, KeyJudgement judgement, CompactedTo state, long end)
    {
        var last = new List<CommittedBatch>();
        foreach (var batch in batches)
        {
            AddOf(batch, judgement, state, end, last);
        }

        return last;
    }

    private static void AddOf(
        in CommittedBatch batch, KeyJudgement judgement, CompactedTo state, long end, List<CommittedBatch> into)
    {
        var rest = batch.Batch.Span;
        var (offset, first, from, keptBytes) = (batch.BaseOffset, batch.BaseOffset, 0, 0);
        for (; RecordBatchScanner.TryTakeRecord(ref rest, out var record); offset++)
        {
            var position = batch.Batch.Length - rest.Length;
            var isMarkerGone = offset < state.Through && batch.TimestampUnixMs <= state.MarkersMs
                && !RecordBatchScanner.KeyOf(record, out var valueBytes, out _).IsEmpty && valueBytes == 0;
            if (offset < end && !isMarkerGone && !judgement.Replaced.Contains(offset))
            {
                keptBytes = position - from;
                continue;
            }

            AddRun(batch, offset, first, from, keptBytes, into);
            (first, from, keptBytes) = (offset + 1, position, 0);
        }

        AddRun(batch, offset, first, from, keptBytes, into);
    }

    private static void AddRun(
        in CommittedBatch batch, long end, long first, int from, int sizeBytes, List<CommittedBatch> into)
    {
        if (sizeBytes > 0)
        {
            into.Add(new CommittedBatch(
                first, (int)(end - first), batch.TimestampUnixMs, batch.Batch.Slice(from, sizeBytes)));
        }
    }
}
