using System.Runtime.InteropServices;
using Broker.Domain;
using Broker.State;
using Broker.Storage;

namespace Broker.Topics;

/// <summary>
/// Gets batches out of the log's entries. What an index or memory says of where a batch is, is right for an entry as it
/// was published. Of one that was thinned since, the entry itself says what it holds, so it does not matter which of
/// the two is on the disk by now.
/// </summary>
internal static class StoredBatches
{
    /// <summary>
    /// Adds what is left of some batches of a topic, in offset order, as far as their entries have so many bytes; at
    /// least one. Returns how many of the batches were looked at; fewer when the log cannot give more of them now.
    /// </summary>
    /// <param name="topic">The topic's number.</param>
    /// <param name="wanted">Where the batches are, in offset order.</param>
    /// <param name="maxBytes">A reader holds on to whole entries, in which other topics' batches may be most of the
    /// bytes: they count, too.</param>
    /// <param name="readEntries">See TopicReader.</param>
    /// <param name="into">Where the runs of records are added.</param>
    public static int Read(
        int topic,
        List<BatchLocation> wanted,
        int maxBytes,
        Func<LogIndex, LogIndex, int, ICollection<LogEntry>, int> readEntries,
        List<StoredRun> into)
    {
        var entries = new List<LogEntry>();
        var taken = 0;
        while (taken < wanted.Count && maxBytes > 0)
        {
            var run = CollectionsMarshal.AsSpan(wanted).Slice(taken, CountRun(wanted, taken));
            entries.Clear();
            if (!TryReadEntries(run[0].LogIndex, run[^1].LogIndex, maxBytes, readEntries, entries))
            {
                break;
            }

            taken += Take(topic, run, entries, into);
            maxBytes -= entries.Sum(static entry => entry.Body.Length);
        }

        return taken;
    }

    private static bool TryReadEntries(
        LogIndex first,
        LogIndex last,
        int maxBytes,
        Func<LogIndex, LogIndex, int, ICollection<LogEntry>, int> readEntries,
        List<LogEntry> entries)
    {
        try
        {
            var read = readEntries(first, last, maxBytes, entries);
            Invariant.Check(read == entries.Count, "as many entries are read as are said to be");
            return read > 0;
        }
        catch (StorageCorruptException)
        {
            // The log has marked the segment, to be repaired from a peer; what it gave before the damage is whole.
            return entries.Count > 0;
        }
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

    private static int Take(
        int topic, ReadOnlySpan<BatchLocation> run, List<LogEntry> entries, List<StoredRun> into)
    {
        var taken = 0;
        while (taken < run.Length)
        {
            var location = run[taken];
            var number = (int)(location.LogIndex - run[0].LogIndex);
            if (number >= entries.Count)
            {
                break;
            }

            var entry = entries[number];
            Invariant.Check(
                entry.Index == location.LogIndex, "the log gives the entries that were asked for, in order");
            if (!CommandSequence.IsThinned(entry.Body.Span))
            {
                into.Add(new StoredRun(location, entry));
                taken++;
                continue;
            }

            var count = CountInEntry(run[taken..]);
            var remains = new List<BatchLocation>();
            ThinnedPublish.Find(entry.Body.Span, topic, run.Slice(taken, count), remains);
            remains.ForEach(batch => into.Add(new StoredRun(batch, entry)));
            taken += count;
        }

        return taken;
    }

    /// <summary>How many batches from the first on are in the same entry.</summary>
    private static int CountInEntry(ReadOnlySpan<BatchLocation> batches)
    {
        var count = 1;
        while (count < batches.Length && batches[count].LogIndex == batches[0].LogIndex)
        {
            count++;
        }

        return count;
    }
}

/// <summary>Records in a row, as a log entry has them.</summary>
/// <param name="Where">
/// Where they are in the entry. Without a record it is the grave of a delete marker: the offset that it had, and its
/// key's mark.
/// </param>
/// <param name="Entry">The entry, which the bytes belong to.</param>
internal readonly record struct StoredRun(BatchLocation Where, LogEntry Entry)
{
    public bool IsGrave => Where.Count == 0;

    public ReadOnlyMemory<byte> Bytes => Entry.Body.Slice(Where.Position, Where.Length);
}
