using System.Data.Common;
using Broker.ServiceDefaults;
using Npgsql;
using Subscriber.Following;

namespace Subscriber.Inbox;

/// <summary>
/// The one loop that writes the inbox: it stores all that waits, over all topics, in one transaction, and while that
/// runs the next one gathers. After a failure the same is tried again; the positions in Postgres say what the broken
/// attempt has stored.
/// </summary>
internal sealed class InboxWriter(
    InboxQueue queue,
    InboxStore store,
    InboxGrowth growth,
    TopicTable topics,
    SubscriberMetrics metrics,
    Startup startup,
    TimeProvider time,
    ILogger<InboxWriter> logger) : BackgroundService
{
    private const string UndefinedTable = "42P01";

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await startup.Ready.WaitAsync(stoppingToken);
        while (await queue.WaitAsync(stoppingToken))
        {
            var items = queue.Take();
            var plan = await StoreTracedAsync(items, stoppingToken);
            queue.Release(items);
            Count(plan);
            foreach (var (topic, (expected, actual)) in plan.Beyond)
            {
                topics.OnPositionMoved(topic, expected, actual);
            }

            growth.Signal.Pulse();
        }
    }

    private async Task<InboxPlan> StoreTracedAsync(List<InboxQueue.Item> items, CancellationToken stoppingToken)
    {
        using var spans = InboxSpans.Start(items);
        return await StoreAsync([.. items.Select(item => item.Append)], stoppingToken);
    }

    private async Task<InboxPlan> StoreAsync(List<InboxAppend> appends, CancellationToken stoppingToken)
    {
        var backoff = new Backoff(TimeSpan.FromMilliseconds(25), TimeSpan.FromMilliseconds(500), time);
        while (true)
        {
            try
            {
                var plan = await store.AppendAsync(appends, stoppingToken);
                if (backoff.Attempts > 0)
                {
                    logger.PostgresBack(backoff.Attempts);
                }

                return plan;
            }
            catch (Exception e) when (e is DbException or TimeoutException)
            {
                if (backoff.Attempts == 0)
                {
                    logger.PostgresAway("storing messages", e);
                }

                if (e is PostgresException { SqlState: UndefinedTable })
                {
                    await startup.PrepareAsync(stoppingToken);  // Somebody has emptied the database: begin anew.
                }
            }

            await backoff.WaitAsync(stoppingToken);
        }
    }

    private void Count(InboxPlan plan)
    {
        var now = time.GetUtcNow().ToUnixTimeMilliseconds();
        foreach (var (_, run) in plan.Runs)
        {
            metrics.Delivered(run.Source, run.Count);
            if (run.Source == MessageSource.Live)
            {
                metrics.LiveLag(TimeSpan.FromMilliseconds(now - run[0].TimestampUnixMs));
            }
        }
    }
}
