using System.Data.Common;
using Broker.ServiceDefaults;
using Publisher.Outbox;

namespace Publisher.Sending;

/// <summary>
/// Sends what dead producers left pending: processes that crashed, and ids that this process retired. A producer is
/// worked on by one relay at a time (its row is locked, others skip it), each topic in sequence order.
/// </summary>
internal sealed class Relay(
    OutboxStore store,
    LaneSender sender,
    MarkQueue marks,
    PublisherMetrics metrics,
    PublisherOptions options,
    TimeProvider time,
    ILogger<Relay> logger) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var away = false;
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await RunOnceAsync(stoppingToken);
                away = false;
            }
            catch (Exception e) when (e is DbException or TimeoutException)
            {
                if (!away)
                {
                    logger.PostgresAway("the relay", e);
                }

                away = true;
            }

            await Task.Delay(options.RelayInterval, time, stoppingToken);
        }
    }

    /// <summary>Works once through all producers that seem dead. What fails is tried again in the next round.</summary>
    internal async Task RunOnceAsync(CancellationToken cancellationToken)
    {
        var done = new List<long>();
        while (true)
        {
            await using var connection = await store.OpenAsync(cancellationToken);
            await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
            var producer = await OutboxStore.TakeDeadProducerAsync(
                transaction, options.DeadAfter, [.. done], cancellationToken);
            if (producer is not { } producerId)
            {
                return;
            }

            await RelayProducerAsync(producerId, cancellationToken);
            await transaction.CommitAsync(cancellationToken);
            done.Add(producerId);
        }
    }

    private async Task RelayProducerAsync(long producerId, CancellationToken cancellationToken)
    {
        logger.RelayStarts(producerId);
        var rows = 0L;
        var topics = await store.PendingTopicsAsync(producerId, "", PublisherLimits.RelayChunks, cancellationToken);
        while (topics.Count > 0)
        {
            var parallel = new ParallelOptions
            {
                MaxDegreeOfParallelism = PublisherLimits.RelayTopics,
                CancellationToken = cancellationToken,
            };
            await Parallel.ForEachAsync(topics, parallel, async (topic, token) =>
                Interlocked.Add(ref rows, await RelayTopicAsync(producerId, topic, token)));
            topics = await store.PendingTopicsAsync(
                producerId, topics[^1], PublisherLimits.RelayChunks, cancellationToken);
        }

        // The lock goes with the transaction: by then nobody must find these rows pending.
        await marks.FlushAsync(cancellationToken);
        logger.RelayDone(rows, producerId);
    }

    private async Task<long> RelayTopicAsync(long producerId, string topic, CancellationToken cancellationToken)
    {
        var rows = 0L;
        Chunk? after = null;
        var backoff = new Backoff(TimeSpan.FromMilliseconds(50), TimeSpan.FromSeconds(1), time);
        while (true)
        {
            var chunks = await store.PendingChunksAsync(
                producerId, topic, after, PublisherLimits.RelayChunks, cancellationToken);
            if (chunks.Count == 0)
            {
                return rows;
            }

            // Of undivided chunks of a topic of several partitions only the first can have been sent.
            chunks[0].MayBeStored = after is null && chunks[0].Partition == Chunk.Undivided;
            var lane = new Lane(producerId, topic) { IsRelayed = true };
            chunks.ForEach(chunk => lane.Add(chunk));
            var all = await sender.TrySendAllAsync(lane, backoff, cancellationToken);
            var sent = chunks.Sum(chunk => chunk.Count) - lane.Waiting().Sum(chunk => chunk.Count);
            metrics.Resent(sent);
            rows += sent;
            if (!all)
            {
                sender.Release(lane);
                return rows;
            }

            after = chunks[^1];
        }
    }
}
