using System.Data.Common;

namespace Publisher.Outbox;

/// <summary>
/// Deletes committed rows that are older than <see cref="PublisherOptions.KeepCommitted"/>, a small page at a time.
/// </summary>
internal sealed class OutboxRetention(
    OutboxStore store, PublisherOptions options, TimeProvider time, ILogger<OutboxRetention> logger) : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromMinutes(1);

    // Producer ids are kept longer than any statement of a live process could be delayed.
    private static readonly TimeSpan KeepProducers = TimeSpan.FromDays(1);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Interval, time);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            try
            {
                await RunOnceAsync(stoppingToken);
            }
            catch (Exception e) when (e is DbException or TimeoutException)
            {
                logger.PostgresAway("retention", e);
            }
        }
    }

    internal async Task RunOnceAsync(CancellationToken cancellationToken)
    {
        var before = time.GetUtcNow() - options.KeepCommitted;
        long? after = 0;
        while (after is { } id)
        {
            after = await store.DeleteCommittedAsync(id, before, PublisherLimits.RetentionRows, cancellationToken);
            logger.RetentionPage(after ?? id);
        }

        await store.DeleteProducersAsync(time.GetUtcNow() - KeepProducers, cancellationToken);
    }
}
