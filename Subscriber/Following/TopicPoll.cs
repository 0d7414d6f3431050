namespace Subscriber.Following;

/// <summary>
/// Asks the brokers which topics exist and how far they are: every second, so that a message whose live copy was lost
/// is found within one; ten times a second while Redis is away.
/// </summary>
internal sealed class TopicPoll(
    TopicTable topics,
    SubjectList subjects,
    IBrokerLog log,
    LiveHealth live,
    Inbox.Startup startup,
    SubscriberOptions options,
    TimeProvider time,
    ILogger<TopicPoll> logger) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await startup.Ready.WaitAsync(stoppingToken);
        var away = false;
        while (true)
        {
            var changed = subjects.Changed.Next;
            try
            {
                await PollAsync(stoppingToken);
                if (away)
                {
                    logger.BrokersBack("listing topics");
                }

                away = false;
            }
            catch (BrokerLogException e)
            {
                if (!away)
                {
                    logger.BrokersAway("listing topics", e);
                }

                away = true;
            }

            var interval = live.IsHealthy ? options.PollWithRedis : options.PollWithoutRedis;
            await Task.WhenAny(Task.Delay(interval, time, stoppingToken), changed);
            stoppingToken.ThrowIfCancellationRequested();
        }
    }

    private async Task PollAsync(CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(options.BrokerTimeout);
        try
        {
            foreach (var filter in subjects.Cover)
            {
                foreach (var topic in await log.ListTopicsAsync(filter, patience.Token))
                {
                    topics.OnAnnounced(topic.Name, topic.FirstOffset, topic.NextOffset);
                }
            }
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new BrokerLogException($"No answer within {options.BrokerTimeout.TotalSeconds:N0} s.", e);
        }
    }
}
