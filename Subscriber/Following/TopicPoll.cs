namespace Subscriber.Following;

/// <summary>
/// Asks the brokers which topics exist and how far they are: every second, so that a message whose live copy was lost
/// is found within one; ten times a second while Redis is away. With very many topics less often: polls never take more
/// than a quarter of the time.
/// </summary>
internal sealed class TopicPoll(
    TopicTable topics,
    SubjectList subjects,
    IBrokerLog log,
    LiveHealth live,
    PollHealth health,
    Inbox.Startup startup,
    SubscriberOptions options,
    TimeProvider time,
    ILogger<TopicPoll> logger) : BackgroundService
{
    private const int RestFactor = 3;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await startup.Ready.WaitAsync(stoppingToken);
        var away = false;
        while (true)
        {
            var changed = subjects.Changed.Next;
            var began = time.GetTimestamp();
            try
            {
                await PollAsync(stoppingToken);
                health.Worked();
                if (away)
                {
                    logger.BrokersBack("listing topics");
                }

                away = false;
            }
            catch (BrokerLogException e)
            {
                health.Failed(e.Message);
                if (!away)
                {
                    logger.BrokersAway("listing topics", e);
                }

                away = true;
            }

            var interval = live.IsHealthy ? options.PollWithRedis : options.PollWithoutRedis;
            var rest = time.GetElapsedTime(began) * RestFactor;
            await Task.WhenAny(Task.Delay(rest > interval ? rest : interval, time, stoppingToken), changed);
            stoppingToken.ThrowIfCancellationRequested();
        }
    }

    private async Task PollAsync(CancellationToken cancellationToken)
    {
        foreach (var filter in subjects.Cover)
        {
            var token = "";
            do
            {
                var page = await ListAsync(filter, token, cancellationToken);
                foreach (var topic in page.Topics)
                {
                    topics.OnAnnounced(topic.Place, topic.FirstOffset, topic.NextOffset);
                }

                token = page.NextPageToken;
            }
            while (token.Length > 0);
        }
    }

    // The patience is for a page: however many topics there are, what was listed is not listed in vain.
    private async Task<LogTopicPage> ListAsync(string filter, string token, CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(options.BrokerTimeout);
        try
        {
            return await log.ListTopicsAsync(filter, token, patience.Token);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new BrokerLogException($"No answer within {options.BrokerTimeout.TotalSeconds:N0} s.", e);
        }
    }
}
