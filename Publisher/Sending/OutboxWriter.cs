using System.Data.Common;
using Broker.ServiceDefaults;
using Npgsql;
using Publisher.Outbox;

namespace Publisher.Sending;

/// <summary>
/// The one loop that writes the outbox: it stores all that waits in one insert, and while that runs the next one
/// gathers. It alone gives out sequences.
/// </summary>
internal sealed class OutboxWriter(
    PublishIntake intake,
    SequenceBook book,
    OutboxStore store,
    LaneTable lanes,
    PublisherMetrics metrics,
    PublisherOptions options,
    TimeProvider time,
    ILogger<OutboxWriter> logger) : BackgroundService
{
    private long _registered;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await PrepareAsync(stoppingToken);
        logger.OutboxReady(book.ProducerId);
        while (await intake.WaitAsync(stoppingToken))
        {
            var tickets = intake.Take();
            if (tickets.Count == 0)
            {
                continue;
            }

            try
            {
                await StoreAsync(tickets, stoppingToken);
            }
            catch (OperationCanceledException e)
            {
                Fail(tickets, "The publisher stops: the message may be stored, and is published then.", e);
                throw;
            }
            finally
            {
                intake.Release(tickets);
            }
        }
    }

    private async Task PrepareAsync(CancellationToken stoppingToken)
    {
        var backoff = new Backoff(TimeSpan.FromMilliseconds(100), TimeSpan.FromSeconds(1), time);
        while (true)
        {
            try
            {
                await store.EnsureSchemaAsync(stoppingToken);
                return;
            }
            catch (Exception e) when (e is DbException or TimeoutException)
            {
                LogOnce(backoff, "creating the outbox", e);
                await backoff.WaitAsync(stoppingToken);
            }
        }
    }

    private async Task StoreAsync(List<PublishTicket> tickets, CancellationToken stoppingToken)
    {
        if (book.ShouldRetire(PublisherLimits.SequencedTopics))
        {
            book.Retire();
        }

        var started = time.GetTimestamp();
        var plan = InsertPlan.Make(tickets, book, PublisherLimits.ChunkRows, PublisherLimits.ChunkBytes);
        var ids = await TryInsertAsync(plan, started, tickets, stoppingToken);
        if (ids is null)
        {
            return;
        }

        var chunks = plan.Stored(ids);
        book.Advance(chunks);
        metrics.Stored(plan.Rows, time.GetElapsedTime(started));
        tickets.ForEach(ticket => ticket.Stored());
        chunks.ForEach(lanes.Enqueue);
    }

    /// <summary>
    /// Inserts a plan, through a restart of Postgres if need be. When a connection breaks, the insert may be committed
    /// or not: the rows are looked up before the same plan is tried again. Should the broken connection's backend
    /// commit after that look, the rows stand there twice with equal stamps, which readers of chunks and the brokers'
    /// deduplication both take for one.
    /// </summary>
    private async Task<List<long>?> TryInsertAsync(
        InsertPlan plan, long started, List<PublishTicket> tickets, CancellationToken stoppingToken)
    {
        var backoff = new Backoff(TimeSpan.FromMilliseconds(25), TimeSpan.FromMilliseconds(500), time);
        var mayBeStored = false;
        while (true)
        {
            try
            {
                var ids = mayBeStored ? await store.FindAsync(plan, stoppingToken) : [];
                if (ids.Count >= plan.Rows)
                {
                    return FirstOfEach(ids, plan);
                }

                await RegisterAsync(stoppingToken);
                mayBeStored = true;
                ids = await store.InsertAsync(plan, stoppingToken);
                if (backoff.Attempts > 0)
                {
                    logger.PostgresBack(backoff.Attempts);
                }

                return ids;
            }
            catch (PostgresException e) when (!e.IsTransient && !IsShutdown(e) && backoff.Attempts == 0)
            {
                logger.InsertRefused(plan.Rows, e);
                Fail(tickets, $"Postgres refused the insert ({e.SqlState}: {e.MessageText}). Nothing was stored.", e);
                return null;
            }
            catch (Exception e) when (e is DbException or TimeoutException)
            {
                LogOnce(backoff, "an insert", e);
                if (time.GetElapsedTime(started) > options.StoreTimeout)
                {
                    GiveUp(plan, tickets, mayBeStored, e);
                    return null;
                }
            }

            await backoff.WaitAsync(stoppingToken);
        }
    }

    // A producer that relays do not know would never be relayed, so it is written before its first message.
    private async Task RegisterAsync(CancellationToken stoppingToken)
    {
        if (_registered != book.ProducerId)
        {
            await store.TouchProducerAsync(book.ProducerId, stoppingToken);
            _registered = book.ProducerId;
        }
    }

    private void GiveUp(InsertPlan plan, List<PublishTicket> tickets, bool mayBeStored, Exception error)
    {
        if (!mayBeStored)
        {
            Fail(tickets, "Postgres is away. Nothing was stored; send again later.", error);
            return;
        }

        book.Retire();
        logger.ProducerRetired(plan.Rows, plan.ProducerId, book.ProducerId);
        Fail(
            tickets,
            "Postgres went away during the insert: the message may be stored, and is published then. "
            + "Sending it again may publish it twice.",
            error);
    }

    // Rows that stand there twice come one after the other, because they are ordered by their place in the plan.
    private static List<long> FirstOfEach(List<long> ids, InsertPlan plan)
    {
        var copies = ids.Count / plan.Rows;
        return copies == 1 ? ids : ids.Where((_, at) => at % copies == 0).ToList();
    }

    // Class 57 (operator intervention: shutdown, starting up) ends the connection, so the outcome is as unknown as with
    // a broken one.
    private static bool IsShutdown(PostgresException error) =>
        error.SqlState.StartsWith("57", StringComparison.Ordinal);

    private static void Fail(List<PublishTicket> tickets, string message, Exception error)
    {
        var reason = new PublishException(PublishFailure.Unavailable, message, error);
        tickets.ForEach(ticket => ticket.Fail(reason));
    }

    private void LogOnce(Backoff backoff, string what, Exception error)
    {
        if (backoff.Attempts == 0)
        {
            logger.PostgresAway(what, error);
        }
    }
}
