using Subscriber.Inbox;

namespace Subscriber.Following;

/// <summary>
/// Reads from the log what a topic lacks: at the start, when the live feed has skipped something, and always while
/// Redis is away. A few topics at a time; each gives way to the others after a number of records.
/// </summary>
internal sealed class CatchUp(
    TopicTable topics,
    SubjectList subjects,
    IBrokerLog log,
    Startup startup,
    TimeProvider time,
    ILogger<CatchUp> logger) : BackgroundService
{
    // The replica that answers may lag behind the leader that published the live batch by a network hop.
    private const int PatienceRounds = 10;

    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(20);

    private readonly SemaphoreSlim _pages = new(SubscriberLimits.WaitingLogPages);
    private int _away;

    public override void Dispose()
    {
        _pages.Dispose();
        base.Dispose();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await startup.Ready.WaitAsync(stoppingToken);
        await Task.WhenAll(Enumerable.Range(0, SubscriberLimits.LogReads).Select(_ => WorkAsync(stoppingToken)));
    }

    private async Task WorkAsync(CancellationToken stoppingToken)
    {
        await foreach (var topic in topics.Fetches.ReadAllAsync(stoppingToken))
        {
            var again = false;
            try
            {
                again = await TryCatchUpAsync(topic, stoppingToken);
                if (Interlocked.Exchange(ref _away, 0) == 1)
                {
                    logger.BrokersBack("reading the log");
                }
            }
            catch (BrokerLogException e)
            {
                if (Interlocked.Exchange(ref _away, 1) == 0)
                {
                    logger.BrokersAway("reading the log", e);
                }
            }

            topics.EndLogRead(topic, again);
        }
    }

    // False: nothing more can be had at the moment, so the next poll or live batch asks again.
    private async Task<bool> TryCatchUpAsync(TopicProgress topic, CancellationToken cancellationToken)
    {
        var taken = 0;
        var idle = 0;
        while (taken < SubscriberLimits.RecordsPerLogRead)
        {
            var (from, afterTrim, behind) = WhereIs(topic);
            if (!behind)
            {
                return true;
            }

            if (idle == PatienceRounds || !subjects.Matches(topic.Place.Topic))
            {
                return false;
            }

            var read = await ReadAsync(topic, from, afterTrim, cancellationToken);
            taken += read;
            idle = read > 0 ? 0 : idle + 1;
            if (read == 0)
            {
                await Task.Delay(Patience, time, cancellationToken);
            }
        }

        return true;
    }

    private static (long From, bool AfterTrim, bool Behind) WhereIs(TopicProgress topic)
    {
        lock (topic)
        {
            return (Math.Max(topic.Next, topic.First), topic.First > topic.Next, topic.Behind);
        }
    }

    private async Task<int> ReadAsync(
        TopicProgress topic, long from, bool afterTrim, CancellationToken cancellationToken)
    {
        var total = 0;
        var page = new List<InboxRecord>();
        var (pageBase, pageBytes) = (from, 0);
        await foreach (var (offset, record) in log.ReadAsync(
            topic.Place, from, SubscriberLimits.RecordsPerLogRead, cancellationToken))
        {
            var full = page.Count == SubscriberLimits.PageRecords || pageBytes >= SubscriberLimits.PageBytes;
            if (full || offset != pageBase + page.Count)
            {
                await FlushAsync(topic, pageBase, page, afterTrim, cancellationToken);
                (pageBase, pageBytes) = (offset, 0);
            }

            page.Add(record);
            pageBytes += record.SizeBytes;
            total++;
        }

        await FlushAsync(topic, pageBase, page, afterTrim, cancellationToken);
        return total;
    }

    private async Task FlushAsync(
        TopicProgress topic,
        long baseOffset,
        List<InboxRecord> page,
        bool afterTrim,
        CancellationToken cancellationToken)
    {
        if (page.Count > 0)
        {
            await _pages.WaitAsync(cancellationToken);
            topics.OnLogPage(topic, new MessageRun(baseOffset, page.ToArray(), MessageSource.Log), afterTrim, _pages);
            page.Clear();
        }
    }
}
