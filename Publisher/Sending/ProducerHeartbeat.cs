using System.Data.Common;
using Publisher.Outbox;

namespace Publisher.Sending;

/// <summary>
/// Says that this process' producer is alive, so that no relay sends its rows beside it, and counts what is pending.
/// </summary>
internal sealed class ProducerHeartbeat(
    OutboxStore store,
    SequenceBook book,
    ProducerLife life,
    PublisherMetrics metrics,
    PublisherOptions options,
    TimeProvider time,
    ILogger<ProducerHeartbeat> logger) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(options.RelayInterval, time);
        var away = false;
        do
        {
            try
            {
                await life.TouchAsync(book.ProducerId, stoppingToken);
                var changed = metrics.Changed;
                metrics.SetPending(await store.CountPendingAsync(options.MaxPending, stoppingToken), changed);
                away = false;
            }
            catch (Exception e) when (e is DbException or TimeoutException)
            {
                if (!away)
                {
                    logger.PostgresAway("the heartbeat", e);
                }

                away = true;
            }
        }
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }
}
