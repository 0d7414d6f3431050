using System.Data.Common;
using Broker.ServiceDefaults;
using Publisher.Outbox;

namespace Publisher.Sending;

/// <summary>
/// Sends the chunks of a lane in their order, a few under way at a time, and hands what is acknowledged to the callers
/// and to the mark queue. After a failure everything from the failed chunk on is sent again: what arrived the first
/// time is answered as a duplicate with its first offset.
/// </summary>
internal sealed class LaneSender(
    IBrokerPublisher broker,
    OutboxStore store,
    MarkQueue marks,
    SequenceBook book,
    PublisherMetrics metrics,
    TimeProvider time,
    ILogger<LaneSender> logger) : IDisposable
{
    private readonly SemaphoreSlim _slots = new(PublisherLimits.InFlight);
    private long _heldBytes;

    /// <summary>Bytes of encoded chunks in memory.</summary>
    public long HeldBytes => Interlocked.Read(ref _heldBytes);

    /// <summary>Counts a chunk's bytes, or drops them when memory is short: they are in Postgres, and read back in
    /// their turn.
    /// </summary>
    public void Hold(Chunk chunk)
    {
        if (Interlocked.Add(ref _heldBytes, chunk.SizeBytes) > PublisherLimits.SendingBytes)
        {
            Drop(chunk);
        }
    }

    /// <summary>Sends until the lane is empty, however long that takes.</summary>
    public async Task PumpAsync(Lane lane, CancellationToken cancellationToken)
    {
        var backoff = new Backoff(TimeSpan.FromMilliseconds(50), TimeSpan.FromSeconds(2), time);
        do
        {
            while (!await TrySendAllAsync(lane, backoff, cancellationToken))
            {
                await backoff.WaitAsync(cancellationToken);
            }

        }
        while (!lane.TryRest());
    }

    /// <summary>Sends until the lane is empty, or false at the first failure that waiting may cure.</summary>
    public async Task<bool> TrySendAllAsync(Lane lane, Backoff backoff, CancellationToken cancellationToken)
    {
        var inFlight = new Queue<Sending>();
        try
        {
            while (true)
            {
                await FillAsync(lane, inFlight, cancellationToken);
                if (!inFlight.TryPeek(out var head))
                {
                    return true;
                }

                var ack = await head.Ack;
                inFlight.Dequeue();
                await CompleteAsync(lane, head, ack, cancellationToken);
                if (backoff.Attempts > 0)
                {
                    logger.BrokersBack(lane.Topic);
                    backoff.Reset();
                }
            }
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            // Whatever it was, the chunks stay in the lane and are sent again: a lane never gives up a stored message.
            var rest = await SettleAsync(inFlight);
            lane.PutBack(rest);
            await HandleFailureAsync(lane, rest, e, backoff, cancellationToken);
            return false;
        }
    }

    /// <summary>Forgets what a lane that is given up has in memory.</summary>
    public void Release(Lane lane) => lane.Waiting().ForEach(Drop);

    public void Dispose() => _slots.Dispose();

    private async Task FillAsync(Lane lane, Queue<Sending> inFlight, CancellationToken cancellationToken)
    {
        while (inFlight.Count < PublisherLimits.InFlightPerTopic && lane.TryTake(out var chunk))
        {
            var ready = false;
            try
            {
                var partitions = chunk.Partition == Chunk.Undivided || chunk.IsMisplaced
                    ? await broker.PartitionsAsync(lane.Topic, again: false, cancellationToken)
                    : 0;
                if (!MayFollow(lane, inFlight, chunk, partitions))
                {
                    lane.PutBack([chunk]);
                    return;
                }

                ready = chunk.Batch is not null || await TryLoadAsync(lane, chunk, cancellationToken);
                if (ready && (chunk.IsMisplaced || (partitions > 1 && !chunk.MayBeStored)))
                {
                    await DivideAsync(lane, chunk, Math.Max(1, partitions), cancellationToken);
                    continue;
                }
            }
            catch (Exception) when (!cancellationToken.IsCancellationRequested)
            {
                lane.PutBack([chunk]);
                if (inFlight.Count == 0)
                {
                    throw;
                }

                return;  // What is under way goes on; the load is tried again after it.
            }

            if (ready)
            {
                // A slot is only waited for while it cannot be this lane that holds all of them.
                await _slots.WaitAsync(cancellationToken);
                chunk.MayBeStored = chunk.Partition == Chunk.Undivided;
                inFlight.Enqueue(new Sending(chunk, SendAsync(chunk, cancellationToken), time.GetTimestamp()));
            }
        }
    }

    // Whether a chunk may be under way beside those that are: their partitions differ, or the brokers know the producer
    // and see a gap. While it is not known that a topic has one partition, what is undivided goes alone.
    private static bool MayFollow(Lane lane, Queue<Sending> inFlight, Chunk chunk, int partitions) =>
        inFlight.Count == 0
        || (chunk.Partition == Chunk.Undivided
            ? partitions == 1 && inFlight.All(sent => IsEstablishedWith(lane, sent.Chunk, chunk))
            : inFlight.All(sent => IsEstablishedWith(lane, sent.Chunk, chunk)
                || (sent.Chunk.Partition != Chunk.Undivided && sent.Chunk.Partition != chunk.Partition)));

    private static bool IsEstablishedWith(Lane lane, Chunk sent, Chunk chunk) =>
        sent.Partition == chunk.Partition && sent.ProducerId == chunk.ProducerId
        && lane.Established.Contains((chunk.ProducerId, chunk.Partition));

    private async Task<BatchAck> SendAsync(Chunk chunk, CancellationToken cancellationToken)
    {
        using var span = OutboxSpans.StartRelay(chunk);
        try
        {
            return await broker.PublishAsync(
                chunk.Topic,
                chunk.Partition,
                chunk.Batch,
                chunk.Count,
                chunk.ProducerId,
                chunk.FirstSequence,
                cancellationToken);
        }
        finally
        {
            _slots.Release();
        }
    }

    private async Task CompleteAsync(Lane lane, Sending sent, BatchAck ack, CancellationToken cancellationToken)
    {
        lane.Established.Add((sent.Chunk.ProducerId, sent.Chunk.Partition));
        metrics.Committed(sent.Chunk.Count, time.GetElapsedTime(sent.Started));
        sent.Chunk.AnswerCommitted(ack.Partition, ack.BaseOffset);
        Drop(sent.Chunk);
        await marks.AddAsync(sent.Chunk, ack, cancellationToken);
        if (sent.Chunk.Partition == Chunk.Undivided && ack.Partition > 0)
        {
            // The topic has several: it was made by this publish, or made again.
            lane.Established.Clear();
            await broker.PartitionsAsync(lane.Topic, again: true, cancellationToken);
        }
    }

    // False: the chunk is done, by another process that took this one for dead.
    private async Task<bool> TryLoadAsync(Lane lane, Chunk chunk, CancellationToken cancellationToken)
    {
        var chunks = lane.NextToLoad(chunk, PublisherLimits.ReloadBytes);
        await store.LoadAsync(chunks, cancellationToken);
        foreach (var loaded in chunks.Where(candidate => candidate.Batch is not null))
        {
            Interlocked.Add(ref _heldBytes, loaded.SizeBytes);
        }

        if (chunk.Batch is not null)
        {
            return true;
        }

        await TakeFromOtherAsync(chunk, cancellationToken);
        return false;
    }

    // Rows that are not under their chunk's stamp any more, or not pending, are in another process' hands.
    private async Task TakeFromOtherAsync(Chunk chunk, CancellationToken cancellationToken)
    {
        var rows = (await store.FindMessagesAsync([.. chunk.Ids], cancellationToken)).ToDictionary(row => row.Id);
        if (rows.Values.Any(row => row.State == 0))
        {
            throw new TimeoutException($"The rows of topic '{chunk.Topic}' are under way in another process.");
        }

        chunk.AnswerAs(rows);
    }

    /// <summary>
    /// Puts parts for the topic's partitions in the place of a chunk, and of those behind it. When it cannot be known
    /// whether the rows have their new stamps, others are taken from then on, and what may have them is left to the
    /// relay.
    /// </summary>
    private async Task DivideAsync(Lane lane, Chunk head, int partitions, CancellationToken cancellationToken)
    {
        var sources = lane.TakeToDivide(head, PublisherLimits.InsertRows, PublisherLimits.InsertBytes);
        while (true)
        {
            var division = new Division(sources, partitions, lane.Stamps);
            var isDone = false;
            try
            {
                isDone = await store.TryDivideAsync(division, lane.IsRelayed, cancellationToken);
                if (!isDone && sources.Count == 1)
                {
                    await TakeFromOtherAsync(head, cancellationToken);
                    Drop(head);
                    return;
                }
            }
            catch (Exception) when (!cancellationToken.IsCancellationRequested)
            {
                lane.Stamps = new PartitionStamps();
                lane.PutBack(sources[1..]); // The head is put back by the caller.
                throw;
            }

            if (isDone)
            {
                lane.Stamps.Take(division.Parts);
                sources.ForEach(Drop);
                lane.PutBack(division.Parts);
                Interlocked.Add(ref _heldBytes, division.Parts.Sum(static part => part.SizeBytes));
                return;
            }

            // Another process has some of them: one by one.
            lane.PutBack(sources[1..]);
            sources = [head];
        }
    }

    // Everything that was sent is waited for: a chunk must not be sent twice at the same time.
    private static async Task<List<Chunk>> SettleAsync(Queue<Sending> inFlight)
    {
        var chunks = new List<Chunk>(inFlight.Count);
        foreach (var sent in inFlight)
        {
            await ((Task)sent.Ack).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            chunks.Add(sent.Chunk);
        }

        return chunks;
    }

    private async Task HandleFailureAsync(
        Lane lane, List<Chunk> rest, Exception error, Backoff backoff, CancellationToken cancellationToken)
    {
        lane.Established.Clear();
        var refusal = error is BrokerRefusedException refused && rest.Count > 0
            ? refused.Refusal
            : BrokerRefusal.Transient;
        try
        {
            switch (refusal)
            {
                case BrokerRefusal.Permanent:
                    rest[0].MayBeStored = false;
                    if (!await IsForOthersAsync(rest[0], cancellationToken))
                    {
                        await RefuseAsync(lane, rest[0], error, cancellationToken);
                    }

                    break;
                case BrokerRefusal.OutOfSequence:
                    await RestampAsync(lane, rest[0], cancellationToken);
                    break;
                default:
                    if (backoff.Attempts == 0)
                    {
                        logger.BrokersAway(lane.Topic, error);
                    }

                    break;
            }
        }
        catch (Exception e) when (e is DbException or TimeoutException)
        {
            logger.PostgresAway("marking a refusal", e);
        }
        catch (BrokerRefusedException e)
        {
            logger.BrokersAway(lane.Topic, e);
        }
    }

    // The topic has other partitions than were known, or than it had: what was refused is divided anew.
    private async Task<bool> IsForOthersAsync(Chunk chunk, CancellationToken cancellationToken)
    {
        var partitions = await broker.PartitionsAsync(chunk.Topic, again: true, cancellationToken);
        chunk.IsMisplaced = chunk.Partition >= Math.Max(1, partitions);
        return chunk.IsMisplaced || (chunk.Partition == Chunk.Undivided && partitions > 1);
    }

    private async Task RefuseAsync(Lane lane, Chunk chunk, Exception error, CancellationToken cancellationToken)
    {
        metrics.Marked(await store.MarkRefusedAsync(chunk, error.Message, cancellationToken));
        lane.TryTake(out _);
        metrics.Refused(chunk.Count);
        logger.ChunkRefused(chunk.Count, chunk.Topic, chunk.FirstSequence, error.Message);
        chunk.AnswerRefused(
            new PublishException(PublishFailure.Invalid, $"The brokers refused it: {error.Message}", error));
        Drop(chunk);
    }

    /// <summary>
    /// The head of a lane is the producer's oldest pending chunk, so one that is out of sequence waits for something
    /// that will never come (a chunk that was refused). Nothing from it on is in its partition: all of it goes on under
    /// a new id, which may begin at any sequence. The mark queue is flushed first, so that "pending" means what it
    /// says.
    /// </summary>
    private async Task RestampAsync(Lane lane, Chunk head, CancellationToken cancellationToken)
    {
        var (oldId, newId) = (head.ProducerId, SequenceBook.DrawId());
        var chunks = lane.Waiting()
            .Where(chunk => chunk.ProducerId == oldId && chunk.Partition == head.Partition)
            .ToList();
        await marks.FlushAsync(cancellationToken);
        if (!await store.TryRestampAsync(chunks, newId, cancellationToken))
        {
            return;  // An older chunk is pending after all, in another process' hands: wait for it.
        }

        chunks.ForEach(chunk => chunk.ProducerId = newId);
        lane.Stamps.Restamp(head.Partition, oldId, newId);
        book.AskToRetire(oldId);
        logger.ProducerRestamped(oldId, head.FirstSequence, lane.Topic, newId);
    }

    private void Drop(Chunk chunk)
    {
        if (chunk.Batch is not null)
        {
            chunk.Batch = null;
            Interlocked.Add(ref _heldBytes, -chunk.SizeBytes);
        }
    }

    private readonly record struct Sending(Chunk Chunk, Task<BatchAck> Ack, long Started);
}
