using System.Data.Common;
using Broker.ServiceDefaults;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Npgsql;
using Publisher.Outbox;

namespace Publisher.Sending;

/// <summary>
/// The one loop that writes the outbox: it stores all that waits in one insert, and while that runs the next one
/// gathers. It alone gives out sequences. Until it has the tables of the outbox the service is not healthy.
/// </summary>
internal sealed class OutboxWriter(
    PublishIntake intake,
    SequenceBook book,
    ProducerLife life,
    OutboxStore store,
    LaneTable lanes,
    Repetitions repetitions,
    PublisherMetrics metrics,
    PublisherOptions options,
    TimeProvider time,
    ILogger<OutboxWriter> logger) : BackgroundService, IHealthCheck
{
    private long _registered;
    private volatile bool _hasTables;

    private enum Insert
    {
        Done,
        Refused,

        /// <summary>An idempotency key stands in the outbox already.</summary>
        KeyIsThere,
    }

    public Task<HealthCheckResult> CheckHealthAsync(
        HealthCheckContext context, CancellationToken cancellationToken = default) =>
        Task.FromResult(_hasTables
            ? HealthCheckResult.Healthy()
            : HealthCheckResult.Unhealthy("The outbox's tables were not created yet: Postgres is awaited."));

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await PrepareAsync(stoppingToken);
        _hasTables = true;
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
                foreach (var round in Rounds(tickets))
                {
                    await StoreAsync(round, stoppingToken);
                }
            }
            catch (OperationCanceledException e)
            {
                FailUnknown(tickets, "The publisher stopped during the insert", e);
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

    /// <summary>
    /// Cuts what was taken wherever an idempotency key comes again, so that its first message is in the outbox before
    /// the second is looked up.
    /// </summary>
    private static IEnumerable<List<PublishTicket>> Rounds(List<PublishTicket> tickets)
    {
        if (!tickets.Exists(ticket => ticket.HasKeys))
        {
            yield return tickets;
            yield break;
        }

        var keys = new HashSet<string>(StringComparer.Ordinal);
        var round = new List<PublishTicket>();
        foreach (var ticket in tickets)
        {
            var own = ticket.Messages.Where(message => message.Once is not null).Select(message => message.Once!.Text);
            if (keys.Overlaps(own))
            {
                yield return round;
                (keys, round) = (new HashSet<string>(StringComparer.Ordinal), []);
            }

            keys.UnionWith(own);
            round.Add(ticket);
        }

        yield return round;
    }

    private async Task StoreAsync(List<PublishTicket> tickets, CancellationToken stoppingToken)
    {
        if (book.ShouldRetire(PublisherLimits.SequencedTopics))
        {
            book.Retire();
        }

        var started = time.GetTimestamp();
        while (true)
        {
            var fresh = await SettleAsync(tickets, started, stoppingToken);
            if (fresh.Count == 0)
            {
                return;
            }

            // The key of another process' message may arrive between the look and the insert. Then nothing of this plan
            // was stored, nor can be, and its sequences go to the next one.
            var plan = InsertPlan.Make(fresh, book, PublisherLimits.ChunkRows, PublisherLimits.ChunkBytes);
            var (outcome, ids) = await TryInsertAsync(plan, started, fresh, stoppingToken);
            if (outcome == Insert.Done)
            {
                Finish(plan, ids, fresh, started);
            }

            if (outcome != Insert.KeyIsThere)
            {
                return;
            }
        }
    }

    private void Finish(InsertPlan plan, List<long> ids, List<PublishTicket> tickets, long started)
    {
        var chunks = plan.Stored(ids);
        book.Advance(chunks);
        metrics.Stored(plan.Rows, time.GetElapsedTime(started));
        tickets.ForEach(ticket => ticket.Stored());
        chunks.ForEach(lanes.Enqueue);
    }

    // What is left to be stored. Nothing is, when Postgres stays away for too long.
    private async Task<List<PublishTicket>> SettleAsync(
        List<PublishTicket> tickets, long started, CancellationToken stoppingToken)
    {
        var backoff = new Backoff(TimeSpan.FromMilliseconds(25), TimeSpan.FromMilliseconds(500), time);
        while (true)
        {
            try
            {
                return await repetitions.SettleAsync(tickets, stoppingToken);
            }
            catch (Exception e) when (e is DbException or TimeoutException)
            {
                LogOnce(backoff, "looking up idempotency keys", e);
                if (time.GetElapsedTime(started) > options.StoreTimeout)
                {
                    Fail(tickets, "Postgres is away. Nothing was stored now; send again later.", e);
                    return [];
                }
            }

            await backoff.WaitAsync(stoppingToken);
        }
    }

    /// <summary>
    /// Inserts a plan, through a restart of Postgres if need be. When a connection breaks, the insert may be committed
    /// or not: the rows are looked up before the same plan is tried again. Should the broken connection's backend
    /// commit after that look, the rows stand there twice with equal stamps, which readers of chunks and the brokers'
    /// deduplication both take for one. Rows that a relay has found meanwhile may have other stamps, and would be
    /// stored and published twice: where that may be, the plan is given up, and its callers hear that the outcome is
    /// unknown.
    /// </summary>
    private async Task<(Insert Outcome, List<long> Ids)> TryInsertAsync(
        InsertPlan plan, long started, List<PublishTicket> tickets, CancellationToken stoppingToken)
    {
        var backoff = new Backoff(TimeSpan.FromMilliseconds(25), TimeSpan.FromMilliseconds(500), time);
        var keyIsThere = false;
        long? triedAt = null;
        Exception? broken = null;  // It has ended an attempt that may have stored the plan.
        while (true)
        {
            try
            {
                var ids = broken is not null ? await store.FindAsync(plan, !keyIsThere, stoppingToken) : [];
                if (ids.Count >= plan.Rows)
                {
                    return (Insert.Done, FirstOfEach(ids, plan));
                }

                if (keyIsThere)
                {
                    return (Insert.KeyIsThere, []);
                }

                if (broken is not null && triedAt is { } since && life.MayBeTakenSince(plan.ProducerId, since))
                {
                    GiveUp(plan, tickets, mayBeStored: true, broken);
                    return (Insert.Refused, []);
                }

                await RegisterAsync(stoppingToken);
                await using var connection = await store.OpenAsync(stoppingToken);
                triedAt ??= time.GetTimestamp();  // Until now nothing can be stored.
                using (OutboxSpans.StartInsert(tickets))
                {
                    ids = await OutboxStore.InsertAsync(connection, plan, stoppingToken);
                }

                if (backoff.Attempts > 0)
                {
                    logger.PostgresBack(backoff.Attempts);
                }

                return (Insert.Done, ids);
            }
            catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.UniqueViolation)
            {
                keyIsThere = true;  // Another process' message, or this plan itself by an attempt that broke.
                continue;
            }
            catch (PostgresException e) when (!e.IsTransient && !IsShutdown(e) && backoff.Attempts == 0)
            {
                logger.InsertRefused(plan.Rows, e);
                Fail(tickets, $"Postgres refused the insert ({e.SqlState}: {e.MessageText}). Nothing was stored.", e);
                return (Insert.Refused, []);
            }
            catch (Exception e) when (e is DbException or TimeoutException)
            {
                broken = triedAt is null ? null : e;
                LogOnce(backoff, "an insert", e);
                if (time.GetElapsedTime(started) > options.StoreTimeout)
                {
                    GiveUp(plan, tickets, mayBeStored: broken is not null, e);
                    return (Insert.Refused, []);
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
            await life.TouchAsync(book.ProducerId, stoppingToken);
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
        FailUnknown(tickets, "Postgres went away during the insert", error);
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

    private static void FailUnknown(List<PublishTicket> tickets, string what, Exception error)
    {
        var reason = new PublishException(
            PublishFailure.OutcomeUnknown,
            $"{what}: the message may be stored, and is published then. Sent again it may be published twice, unless "
            + "both have the same idempotency key.",
            error);
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
