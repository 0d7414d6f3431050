using System.Runtime.CompilerServices;
using Broker.Domain;
using Broker.Topics;

namespace Broker.Delivery;

/// <summary>
/// Reads the committed batches of one data shard's topics, on any replica. The index says which entries hold them; the
/// entries come from memory or disk through <paramref name="readEntries"/> (first, last, most bytes but at least one
/// entry, into; answers how many).
/// </summary>
public sealed class TopicReader(
    TopicStateMachine topics, TailSignal signal, Func<LogIndex, LogIndex, int, ICollection<LogEntry>, int> readEntries)
{
    /// <summary>
    /// Batches from the one that holds <paramref name="offset"/>. Without <paramref name="follow"/> it ends at the
    /// offset that was the topic's next when it began; with it, it waits for more (and for the topic itself) until it
    /// is cancelled.
    /// </summary>
    /// <exception cref="BrokerException">
    /// InvalidArgument: a negative offset. NotFound: no such topic. OutOfRange: an offset beyond the end.
    /// ResourceExhausted: too many readers follow. FailedPrecondition: this replica cannot give the records now.
    /// </exception>
    public async IAsyncEnumerable<ReadPage> ReadAsync(
        string topic, long offset, bool follow, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        if (offset < 0)
        {
            throw Refusal.InvalidArgument($"Offset {offset} is negative; offsets begin at 0.");
        }

        if (!follow)
        {
            var view = FindRange(topic, offset, out var end);
            while (offset < end)
            {
                cancellationToken.ThrowIfCancellationRequested();
                var page = ReadPage(view, offset, end);
                offset = page.NextOffset;
                yield return page;
            }

            yield break;
        }

        // The place is taken before the first look at the topic, so nothing falls between the look and the wait.
        using var waiter = signal.Register(topic);
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (topics.TryGetTopic(topic, out var view) && offset < view.NextOffset)
            {
                var page = ReadPage(view, offset, view.NextOffset);
                offset = page.NextOffset;
                yield return page;
            }
            else
            {
                await waiter.WaitAsync(cancellationToken);
            }
        }
    }

    private TopicView FindRange(string topic, long offset, out long end)
    {
        if (!topics.TryGetTopic(topic, out var view))
        {
            throw Refusal.NotFound(
                $"There is no topic '{topic}'. It comes to be with its first publish; or follow it.");
        }

        end = view.NextOffset;
        return offset <= end
            ? view
            : throw Refusal.OutOfRange(
                $"Offset {offset} of topic '{topic}' is beyond its end; its next offset is {end}.");
    }

    private ReadPage ReadPage(TopicView view, long offset, long end)
    {
        var wanted = ChooseBatches(view, offset, end);
        var batches = new List<CommittedBatch>(wanted.Count);
        var entries = new List<LogEntry>();

        // A page holds on to whole entries, in which other topics' batches may be most of the bytes: they count, too.
        var budgetBytes = Limits.ReadResponseBytes;
        while (batches.Count < wanted.Count && budgetBytes > 0)
        {
            var first = batches.Count;
            var run = CountRun(wanted, first);
            entries.Clear();
            var read = readEntries(wanted[first].LogIndex, wanted[first + run - 1].LogIndex, budgetBytes, entries);
            Invariant.Check(read == entries.Count, "as many entries are read as are said to be");
            if (read == 0)
            {
                break;
            }

            TakeBatches(wanted, run, entries, batches);
            budgetBytes -= entries.Sum(entry => entry.Body.Length);
        }

        if (batches.Count == 0)
        {
            throw Refusal.FailedPrecondition(
                $"Offset {offset} of topic '{view.Name}' cannot be read from this replica's log now; "
                + "read it from another replica.");
        }

        var next = batches[^1].BaseOffset + batches[^1].Count;
        return new ReadPage(batches, next, view.NextOffset);
    }

    /// <summary>
    /// The batches of a page by their own bytes; always one, even when it alone is larger than a page.
    /// </summary>
    private static List<BatchLocation> ChooseBatches(TopicView view, long offset, long end)
    {
        var ordinal = view.FindBatch(offset);
        Invariant.Check(ordinal >= 0, "an offset below the topic's next lies in a batch");
        var wanted = new List<BatchLocation>();
        var bytes = 0L;
        for (; ordinal < view.BatchCount; ordinal++)
        {
            var batch = view.GetBatch(ordinal);
            bytes += batch.Length;
            if (batch.BaseOffset >= end || (wanted.Count > 0 && bytes > Limits.ReadResponseBytes))
            {
                break;
            }

            wanted.Add(batch);
        }

        return wanted;
    }

    /// <summary>
    /// How many batches from the first lie in entries that follow each other, so that one read gets nothing else.
    /// </summary>
    private static int CountRun(List<BatchLocation> wanted, int first)
    {
        var run = 1;
        while (first + run < wanted.Count && wanted[first + run].LogIndex - wanted[first + run - 1].LogIndex <= 1)
        {
            run++;
        }

        return run;
    }

    private static void TakeBatches(
        List<BatchLocation> wanted, int run, List<LogEntry> entries, List<CommittedBatch> batches)
    {
        var firstEntry = wanted[batches.Count].LogIndex;
        var end = batches.Count + run;
        while (batches.Count < end)
        {
            var location = wanted[batches.Count];
            var number = (int)(location.LogIndex - firstEntry);
            if (number >= entries.Count)
            {
                return;
            }

            var entry = entries[number];
            Invariant.Check(
                entry.Index == location.LogIndex, "the log gives the entries that were asked for, in order");
            var bytes = entry.Body.Slice(location.Position, location.Length);
            batches.Add(new CommittedBatch(location.BaseOffset, location.Count, location.TimestampUnixMs, bytes));
        }
    }
}
