using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Broker.Domain;
using Broker.State;
using Broker.Storage;
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
    /// <summary>The shard's group, which is a part of its topics' ids.</summary>
    public GroupId Group { get; init; }

    /// <summary>
    /// The last entry of the segment that holds an entry, when no replica can read that; none otherwise.
    /// </summary>
    public Func<LogIndex, LogIndex> LostThrough { get; init; } = static _ => LogIndex.None;

    /// <summary>The time of the last entry that this replica has applied.</summary>
    public long LogTimeUnixMs => topics.LastTimestampUnixMs;

    /// <summary>
    /// All topics of the shard, and its partitions of topics, ordered by the names that they have in it.
    /// </summary>
    public IReadOnlyList<TopicView> ListPlaces() => topics.ListPlaces();

    /// <summary>
    /// The next page of what stands under a name in the shard and is followed from a cursor, and the cursor after it;
    /// without a page when nothing is there yet. A topic that was made under the name of the cursor's one is read from
    /// its beginning. Null: there is no such topic any more.
    /// </summary>
    /// <exception cref="BrokerException">
    /// FailedPrecondition: this replica cannot give the records now. DataLost: none can.
    /// </exception>
    public TopicCursor? ReadNext(string name, TopicCursor cursor, out ReadPage? page)
    {
        page = null;
        if (!topics.TryGetTopic(name, out var view))
        {
            return null;
        }

        if (view.TopicNumber < cursor.Number)
        {
            return cursor;  // The cursor comes from another replica, and this one has yet to learn of its topic.
        }

        var offset = view.TopicNumber == cursor.Number ? cursor.Offset : 0;
        TryReadPage(view, ref offset, view.NextOffset, out page, CancellationToken.None);
        return new TopicCursor(view.TopicNumber, offset);
    }

    /// <summary>
    /// Batches from the one that holds <paramref name="offset"/>, or from the first record that is kept when that comes
    /// later: a purge may also overtake a read. Without <paramref name="follow"/> it ends at the offset that was the
    /// topic's next when it began; with it, it waits for more (and for the topic itself) until it is cancelled.
    /// </summary>
    /// <exception cref="BrokerException">
    /// InvalidArgument: a negative offset. NotFound: no such topic. TopicDeleted: it was deleted while it was followed.
    /// OutOfRange: an offset beyond the end. Overloaded: too many readers follow. FailedPrecondition: this replica
    /// cannot give the records now.
    /// DataLost: none can.
    /// </exception>
    /// <param name="topic">Its name, or that under which a partition stands in the shard.</param>
    /// <param name="offset">The first offset that is wanted.</param>
    /// <param name="follow">Whether the read stays at the end.</param>
    /// <param name="cancellationToken">Ends the read.</param>
    /// <param name="number">The number that it must have; null: any, and then the same to the end of the read.</param>
    /// <param name="id">What pages tell as the topic's id; none: what follows from its number.</param>
    public async IAsyncEnumerable<ReadPage> ReadAsync(
        string topic,
        long offset,
        bool follow,
        [EnumeratorCancellation] CancellationToken cancellationToken,
        int? number = null,
        TopicId id = default)
    {
        if (offset < 0)
        {
            throw Refusal.InvalidArgument($"Offset {offset} is negative; offsets begin at 0.");
        }

        if (!follow)
        {
            var view = FindRange(topic, offset, number, out var end);
            while (TryReadPage(view, ref offset, end, out var page, cancellationToken))
            {
                yield return id.IsNone ? page : page with { Topic = id };
            }

            yield break;
        }

        // The place is taken before the first look at the topic, so nothing falls between the look and the wait.
        using var waiter = signal.Register(topic);
        var isBegun = false;
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();

            // One with a lower number is of a deleted topic: this replica lags behind who said which number it has.
            var isThere = topics.TryGetTopic(topic, out var view) && !(!isBegun && view.Number < number);
            if (isBegun ? !isThere || view.Number != number : isThere && view.Number > number)
            {
                throw Refusal.TopicDeleted(topic);
            }

            isBegun = isThere;
            number = isThere ? view.Number : number;
            if (isThere && TryReadPage(view, ref offset, view.NextOffset, out var page, cancellationToken))
            {
                yield return id.IsNone ? page : page with { Topic = id };
            }
            else
            {
                await waiter.WaitAsync(cancellationToken);
            }
        }
    }

    private TopicView FindRange(string topic, long offset, int? number, out long end)
    {
        if (!topics.TryGetTopic(topic, out var view))
        {
            throw Refusal.NotFound(
                $"There is no topic '{topic}'. It comes to be with its first publish; or follow it.");
        }

        if (number is { } wanted && view.Number != wanted)
        {
            throw view.Number > wanted ? Refusal.TopicDeleted(topic) : ReadElsewhere(view, offset);
        }

        end = view.NextOffset;
        return offset <= end
            ? view
            : throw Refusal.OutOfRange(
                $"Offset {offset} of topic '{topic}' is beyond its end; its next offset is {end}.");
    }

    /// <summary>
    /// The next page with a batch, and the offset behind it. False: no record is kept between the offset and the end;
    /// the offset has moved over what is gone.
    /// </summary>
    private bool TryReadPage(
        TopicView view,
        ref long offset,
        long end,
        [NotNullWhen(true)] out ReadPage? page,
        CancellationToken cancellationToken)
    {
        page = null;
        var first = view.FirstOffset;
        while (Math.Max(offset, first) < end)
        {
            cancellationToken.ThrowIfCancellationRequested();
            page = ReadPage(view, offset, end);
            if (page is not null)
            {
                offset = page.NextOffset;
                if (page.Batches.Count > 0)
                {
                    return true;
                }

                continue;
            }

            // What a purge has removed meanwhile need not be found. The first offset only grows, and seldom.
            var before = first;
            first = view.FirstOffset;
            if (Math.Max(offset, before) >= first)
            {
                throw Unreadable(view, Math.Max(offset, first), end);
            }
        }

        return false;
    }

    private BrokerException Unreadable(TopicView view, long offset, long end)
    {
        var next = offset;
        while (next < end)
        {
            var batches = new List<BatchLocation>();
            view.TryLocate(next, end, Limits.ReadResponseBytes, batches, out _);
            foreach (var batch in batches)
            {
                if (LostThrough(batch.LogIndex) == LogIndex.None)
                {
                    return next > offset ? Refusal.DataLost(view.Name, offset, next) : ReadElsewhere(view, offset);
                }

                next = batch.BaseOffset + batch.Count;
            }

            if (batches.Count == 0)
            {
                break;
            }
        }

        return next > offset ? Refusal.DataLost(view.Name, offset, next) : ReadElsewhere(view, offset);
    }

    private static BrokerException ReadElsewhere(TopicView view, long offset) => Refusal.FailedPrecondition(
        $"Offset {offset} of topic '{view.Name}' cannot be read from this replica's log now; read it from another "
        + "replica.");

    private ReadPage? ReadPage(TopicView view, long offset, long end)
    {
        var wanted = new List<BatchLocation>();
        view.TryLocate(offset, end, Limits.ReadResponseBytes, wanted, out var firstOffset);
        var batches = new List<CommittedBatch>(wanted.Count);
        var entries = new List<LogEntry>();
        var taken = 0;

        // A page holds on to whole entries, in which other topics' batches may be most of the bytes: they count, too.
        var budgetBytes = Limits.ReadResponseBytes;
        while (taken < wanted.Count && budgetBytes > 0)
        {
            var run = CollectionsMarshal.AsSpan(wanted).Slice(taken, CountRun(wanted, taken));
            entries.Clear();
            if (!TryReadEntries(run[0].LogIndex, run[^1].LogIndex, budgetBytes, entries))
            {
                break;
            }

            taken += TakeBatches(view.Number, run, entries, batches);
            budgetBytes -= entries.Sum(entry => entry.Body.Length);
        }

        if (taken == 0)
        {
            return null;
        }

        var begin = Math.Max(offset, firstOffset);
        batches.RemoveRange(0, batches.TakeWhile(batch => batch.BaseOffset + batch.Count <= begin).Count());
        if (batches.Count > 0)
        {
            batches[0] = WithoutPurged(batches[0], firstOffset);
        }

        return new ReadPage(
            batches,
            wanted[taken - 1].EndOffset,
            view.NextOffset,
            new TopicId(Group, view.Number));
    }

    private bool TryReadEntries(LogIndex first, LogIndex last, int maxBytes, List<LogEntry> entries)
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
    /// A purge may end within a batch. The log keeps such a batch as it is; its purged records are cut off here, so
    /// that no reader sees them.
    /// </summary>
    private static CommittedBatch WithoutPurged(in CommittedBatch batch, long firstOffset)
    {
        if (batch.BaseOffset >= firstOffset)
        {
            return batch;
        }

        var purged = (int)(firstOffset - batch.BaseOffset);
        return batch with
        {
            BaseOffset = firstOffset,
            Count = batch.Count - purged,
            Batch = batch.Batch[RecordBatchScanner.PositionAfter(batch.Batch.Span, purged)..],
        };
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

    /// <summary>
    /// Takes what the entries hold of a run of batches; returns how many of these were looked at. What an index or
    /// memory says of where a batch is, is right for an entry as it was published. Of one that was thinned since, the
    /// entry itself says what it holds, so it does not matter which of the two is on the disk by now.
    /// </summary>
    private static int TakeBatches(
        int topic, ReadOnlySpan<BatchLocation> run, List<LogEntry> entries, List<CommittedBatch> batches)
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
                batches.Add(BatchAt(location, entry));
                taken++;
                continue;
            }

            var count = CountInEntry(run[taken..]);
            var remains = new List<BatchLocation>();
            ThinnedPublish.Find(entry.Body.Span, topic, run.Slice(taken, count), remains);
            remains.ForEach(batch => batches.Add(BatchAt(batch, entry)));
            taken += count;
        }

        return taken;
    }

    private static CommittedBatch BatchAt(in BatchLocation location, LogEntry entry) => new(
        location.BaseOffset,
        location.Count,
        location.TimestampUnixMs,
        entry.Body.Slice(location.Position, location.Length));

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
