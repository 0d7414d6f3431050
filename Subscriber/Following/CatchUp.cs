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
            var (from, afterTrim, behind, _) = WhereIs(topic);
            if (!behind)
            {
                return true;
            }

            if (idle == PatienceRounds || !subjects.Matches(topic.Place.Topic))
            {
                return false;
            }

            var read = await ReadAsync(topic, from, afterTrim, cancellationToken);
            taken += (int)Math.Min(read, SubscriberLimits.RecordsPerLogRead);
            idle = read > 0 ? 0 : idle + 1;
            if (read == 0)
            {
                await Task.Delay(Patience, time, cancellationToken);
            }
        }

        return true;
    }

    private static (long From, bool AfterTrim, bool Behind, long Next) WhereIs(TopicProgress topic)
    {
        lock (topic)
        {
            return (Math.Max(topic.Next, topic.First), topic.First > topic.Next, topic.Behind, topic.Next);
        }
    }

    /// <summary>
    /// Between two records may be offsets that are gone (purged, or compacted): the pages of one read follow each other
    /// all the same, and so do the last page and the end of the read. Returns how far it has come.
    /// </summary>
    private async Task<long> ReadAsync(
        TopicProgress topic, long from, bool afterTrim, CancellationToken cancellationToken)
    {
        var passed = 0L;
        var page = new List<InboxRecord>();
        var (pageBase, pageBytes) = (from, 0);
        var covered = afterTrim ? WhereIs(topic).Next : from;
        await foreach (var (offset, record) in log.ReadAsync(
            topic.Place, from, SubscriberLimits.RecordsPerLogRead, cancellationToken))
        {
            passed = offset - from;
            var full = page.Count == SubscriberLimits.PageRecords || pageBytes >= SubscriberLimits.PageBytes;
            if (full || record is null || offset != pageBase + page.Count)
            {
                covered = await FlushAsync(topic, covered, pageBase, page, afterTrim, cancellationToken);
                (pageBase, pageBytes) = (offset, 0);
            }

            if (record is not { } taken)
            {
                topics.OnLogEnd(topic, covered, offset);
                continue;
            }

            page.Add(taken);
            pageBytes += taken.SizeBytes;
            passed++;
        }

        await FlushAsync(topic, covered, pageBase, page, afterTrim, cancellationToken);
        return passed;
    }

    /// <summary>Returns where the next page goes on.</summary>
    private async Task<long> FlushAsync(
        TopicProgress topic,
        long covered,
        long baseOffset,
        List<InboxRecord> page,
        bool afterTrim,
        CancellationToken cancellationToken)
    {
        if (page.Count == 0)
        {
            return covered;
        }

        await _pages.WaitAsync(cancellationToken);
        var run = new MessageRun(baseOffset, page.ToArray(), MessageSource.Log);
        topics.OnLogPage(topic, run, covered, afterTrim, _pages);
        page.Clear();
        return run.EndOffset;
    }
}
