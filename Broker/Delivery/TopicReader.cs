using System.Diagnostics.CodeAnalysis;
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
    /// <summary>The shard's group, which is a part of its topics' ids.</summary>
    public GroupId Group { get; init; }

    /// <summary>
    /// The last entry of the segment that holds an entry, when no replica can read that; none otherwise.
    /// </summary>
    public Func<LogIndex, LogIndex> LostThrough { get; init; } = static _ => LogIndex.None;

    /// <summary>Of the whole node: how many reads look for the last record of each key at once.</summary>
    public SemaphoreSlim KeyReads { get; init; } = new(Limits.KeyReadsAtOnce);

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
    /// ReadElsewhere: this replica cannot give the records now. DataLost: none can.
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

    /// <summary>Where <see cref="ReadNext"/> goes on: the topic's number, and the offset.</summary>
    internal (int Number, long Offset) PositionOf(string name, TopicCursor cursor) =>
        topics.TryGetTopic(name, out var view) && view.TopicNumber != cursor.Number
            ? (view.TopicNumber, 0)
            : (cursor.Number, cursor.Offset);

    /// <summary>
    /// Batches from the one that holds <paramref name="offset"/>, or from the first record that is kept when that comes
    /// later: a purge may also overtake a read. Without <paramref name="follow"/> it ends at the offset that was the
    /// topic's next when it began; with it, it waits for more (and for the topic itself) until it is cancelled.
    /// </summary>
    /// <exception cref="BrokerException">
    /// InvalidArgument: a negative offset. NotFound: no such topic. TopicDeleted: it was deleted while it was followed.
    /// OutOfRange: an offset beyond the end. Overloaded: too many readers follow. ReadElsewhere: this replica cannot
    /// give the records now.
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
            var told = offset;
            while (TryReadPage(view, ref offset, end, out var page, cancellationToken))
            {
                told = page.NextOffset;
                yield return id.IsNone ? page : page with { Topic = id };
            }

            if (offset > told)
            {
                // The last records are gone: a reader that waits for them hears so.
                var own = id.IsNone ? new TopicId(Group, view.Number) : id;
                yield return new ReadPage([], offset, view.NextOffset, own);
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

    /// <summary>
    /// What compaction would leave of the records that this replica has applied now, in offset order: the last of each
    /// key and those without a key, but no delete marker that is gone by what the topic's settings say. Then, with
    /// <paramref name="follow"/>, everything that comes. Pages of the first part name its end as their high watermark.
    /// </summary>
    /// <exception cref="BrokerException">
    /// As ReadAsync. ResourceExhausted: the topic has more keys, or offsets, than are looked through at once.
    /// Overloaded: too many such reads look for them.
    /// </exception>
    /// <inheritdoc cref="ReadAsync"/>
    public async IAsyncEnumerable<ReadPage> ReadLastPerKeyAsync(
        string topic,
        bool follow,
        [EnumeratorCancellation] CancellationToken cancellationToken,
        int? number = null,
        TopicId id = default)
    {
        var offset = 0L;
        var end = 0L;
        if (!follow || (topics.TryGetTopic(topic, out var known) && (number is null || known.Number == number)))
        {
            var view = FindRange(topic, 0, number, out end);
            number = view.Number;
            var state = view.Compacted;
            var replaced = LastRecords.Find(view, end, readEntries, KeyReads, cancellationToken)
                ?? throw Unreadable(view, view.FirstOffset, end);
            while (TryReadPage(view, ref offset, end, out var page, cancellationToken))
            {
                var last = LastRecords.Of(page.Batches, replaced, state, end);
                if (last.Count > 0)
                {
                    page = page with { Batches = last, HighWatermark = end, NextOffset = Math.Min(offset, end) };
                    yield return id.IsNone ? page : page with { Topic = id };
                }
            }
        }

        if (follow)
        {
            await foreach (var page in ReadAsync(topic, end, follow, cancellationToken, number, id))
            {
                yield return page;
            }
        }
    }

    /// <summary>
    /// A page of what lies between two offsets, for a consumer group. Null: nothing of it is kept, or it cannot be
    /// read now; <see cref="FindGoneEnd"/> says whether it ever can.
    /// </summary>
    internal ReadPage? ReadRange(in TopicView view, long offset, long end) => ReadPage(view, offset, end);

    /// <summary>
    /// Behind what is not kept, or no replica can read, from an offset on; at most the end, and not beyond the offset
    /// when it can be read.
    /// </summary>
    internal long FindGoneEnd(in TopicView view, long offset, long end) =>
        Math.Min(end, Math.Max(view.FirstOffset, FindLostEnd(view, offset, end)));

    /// <summary>Behind what no replica can read from an offset on; the offset itself, when it can be read.</summary>
    private long FindLostEnd(in TopicView view, long offset, long end)
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
                    return next;
                }

                next = batch.BaseOffset + batch.Count;
            }

            if (batches.Count == 0)
            {
                break;
            }
        }

        return next;
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
        var next = FindLostEnd(view, offset, end);
        return next > offset ? Refusal.DataLost(view.Name, offset, next) : ReadElsewhere(view, offset);
    }

    private static BrokerException ReadElsewhere(TopicView view, long offset) =>
        Refusal.ReadElsewhere(view.Name, offset);

    private ReadPage? ReadPage(TopicView view, long offset, long end)
    {
        var wanted = new List<BatchLocation>();
        view.TryLocate(offset, end, Limits.ReadResponseBytes, wanted, out var firstOffset);
        var runs = new List<StoredRun>(wanted.Count);
        var taken = StoredBatches.Read(view.Number, wanted, Limits.ReadResponseBytes, readEntries, runs);
        if (taken == 0)
        {
            return null;
        }

        var batches = new List<CommittedBatch>(runs.Count);
        var begin = Math.Max(offset, firstOffset);
        foreach (var run in runs)
        {
            if (run.Where.EndOffset > begin && !run.IsGrave)
            {
                batches.Add(new CommittedBatch(
                    run.Where.BaseOffset, run.Where.Count, run.Where.TimestampUnixMs, run.Bytes));
            }
        }

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
}
