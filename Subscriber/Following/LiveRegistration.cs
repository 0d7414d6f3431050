using Broker.ServiceDefaults;

namespace Subscriber.Following;

/// <summary>
/// Tells the brokers which topics to publish live on Redis: until it works, again when the subjects change, and once a
/// minute, should the brokers' state have been replaced.
/// </summary>
internal sealed class LiveRegistration(
    SubjectList subjects,
    IBrokerLog log,
    Inbox.Startup startup,
    SubscriberOptions options,
    TimeProvider time,
    ILogger<LiveRegistration> logger) : BackgroundService
{
    private static readonly TimeSpan Repeat = TimeSpan.FromMinutes(1);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await startup.Ready.WaitAsync(stoppingToken);
        var registered = -1;
        while (true)
        {
            var changed = subjects.Changed.Next;
            var filters = subjects.Cover;
            await RegisterAsync(filters, stoppingToken);
            if (registered != filters.Length)
            {
                logger.Registered(options.Name, filters.Length);
                registered = filters.Length;
            }

            await Task.WhenAny(Task.Delay(Repeat, time, stoppingToken), changed);
            stoppingToken.ThrowIfCancellationRequested();
        }
    }

    private async Task RegisterAsync(IReadOnlyList<string> filters, CancellationToken stoppingToken)
    {
        var backoff = new Backoff(TimeSpan.FromMilliseconds(100), TimeSpan.FromSeconds(2), time);
        while (true)
        {
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(stoppingToken);
            patience.CancelAfter(options.BrokerTimeout);
            try
            {
                // A live subscription has at least one filter; none at all is no subscription.
                await (filters.Count > 0
                    ? log.PutLiveSubscriptionAsync(options.Name, filters, patience.Token)
                    : log.DeleteLiveSubscriptionAsync(options.Name, patience.Token));
                return;
            }
            catch (Exception e) when (e is BrokerLogException or OperationCanceledException
                && !stoppingToken.IsCancellationRequested)
            {
                if (backoff.Attempts == 0)
                {
                    logger.BrokersAway("registering the live subscription", e);
                }
            }

            await backoff.WaitAsync(stoppingToken);
        }
    }
}
