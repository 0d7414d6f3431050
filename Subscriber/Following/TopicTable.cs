using System.Collections.Concurrent;
using System.Threading.Channels;
using Subscriber.Inbox;

namespace Subscriber.Following;

/// <summary>
/// The progress of all topics and their partitions, and the way of messages from their two sources to the inbox writer.
/// Each partition has its own lock, held for moments only; runs enter the writer's queue under it, so the queue keeps
/// each one's order.
/// </summary>
internal sealed class TopicTable(InboxQueue queue, SubscriberMetrics metrics, ILogger<TopicTable> logger)
{
    private readonly ConcurrentDictionary<TopicPlace, TopicProgress> _topics = new();

    // A topic stands in it at most once (TopicProgress.Fetching), so the number of topics bounds it.
    private readonly Channel<TopicProgress> _fetches = Channel.CreateUnbounded<TopicProgress>();
    private long _aheadBytes;

    public int Count => _topics.Count;

    /// <summary>Topics that wait for a log read.</summary>
    public ChannelReader<TopicProgress> Fetches => _fetches.Reader;

    public void Load(TopicPlace place, long nextOffset) => _topics[place] = new TopicProgress(place, nextOffset);

    /// <summary>A live batch has arrived.</summary>
    public void OnLive(TopicPlace place, MessageRun run)
    {
        if (!queue.HasRoomForLive)
        {
            OnAnnounced(place, 0, run.EndOffset);
            return;
        }

        var progress = Get(place);
        lock (progress)
        {
            if (run.BaseOffset > progress.Next && !progress.Fetching)
            {
                metrics.Gap();
                logger.GapFound(place.ToString(), progress.Next, run.BaseOffset);
            }

            var before = progress.AheadBytes;
            var limit = Math.Min(
                SubscriberLimits.AheadBytesPerTopic,
                before + SubscriberLimits.AheadBytes - Interlocked.Read(ref _aheadBytes));
            var handOver = new List<InboxAppend>(1);
            var known = progress.Offer(run, limit, handOver);
            Pass(progress, before, handOver, pages: null);
            if (known > 0)
            {
                metrics.Duplicate(known);
            }
        }
    }

    /// <summary>
    /// Offsets are known to exist: a batch that is too large for Redis, or the brokers' list of topics.
    /// </summary>
    public void OnAnnounced(TopicPlace place, long firstOffset, long nextOffset)
    {
        var progress = Get(place);
        lock (progress)
        {
            progress.Announce(firstOffset, nextOffset);
            AskForLogRead(progress);
        }
    }

    /// <summary>
    /// A page from the log, which has nothing between the offset to which the reader had come and the page. The page's
    /// slot is given back by the writer.
    /// </summary>
    public void OnLogPage(
        TopicProgress progress, MessageRun run, long covered, bool afterTrim, SemaphoreSlim pages)
    {
        lock (progress)
        {
            var before = progress.AheadBytes;
            var handOver = new List<InboxAppend>(1);

            // When the position was moved back meanwhile, what lies between was not looked at.
            if (run.BaseOffset > progress.Next && covered <= progress.Next)
            {
                if (afterTrim)
                {
                    logger.LogTrimmed(progress.Place.ToString(), run.BaseOffset, run.BaseOffset - progress.Next);
                }

                progress.OfferAfterGap(run, handOver);
            }
            else
            {
                progress.Offer(run, progress.AheadBytes, handOver);
            }

            Pass(progress, before, handOver, pages);
        }
    }

    /// <summary>A read of the log has come to an offset, and found nothing more before it.</summary>
    public void OnLogEnd(TopicProgress progress, long covered, long offset)
    {
        lock (progress)
        {
            if (covered <= progress.Next && offset > progress.Next)
            {
                var before = progress.AheadBytes;
                var handOver = new List<InboxAppend>(1);
                progress.PassOver(offset, handOver);
                Pass(progress, before, handOver, pages: null);
            }
        }
    }

    /// <summary>The reader of a topic pauses. It comes again when it is behind and may go on at once.</summary>
    public void EndLogRead(TopicProgress progress, bool again)
    {
        lock (progress)
        {
            progress.Fetching = false;
            if (again)
            {
                AskForLogRead(progress);
            }
        }
    }

    /// <summary>The inbox's own position differs from what was handed to it.</summary>
    public void OnPositionMoved(TopicProgress progress, long expected, long actual)
    {
        logger.PositionMoved(progress.Place.ToString(), expected, actual);
        lock (progress)
        {
            Interlocked.Add(ref _aheadBytes, -progress.AheadBytes);
            progress.Reset(actual);
            AskForLogRead(progress);
        }
    }

    private TopicProgress Get(TopicPlace place) =>
        _topics.GetOrAdd(place, static place => new TopicProgress(place, 0));

    private void Pass(TopicProgress progress, long aheadBefore, List<InboxAppend> handOver, SemaphoreSlim? pages)
    {
        Interlocked.Add(ref _aheadBytes, progress.AheadBytes - aheadBefore);
        for (var i = 0; i < handOver.Count; i++)
        {
            queue.Add(handOver[i], i == 0 ? pages : null);
        }

        if (handOver.Count == 0)
        {
            pages?.Release();
        }

        AskForLogRead(progress);
    }

    private void AskForLogRead(TopicProgress progress)
    {
        if (progress.Behind && !progress.Fetching)
        {
            progress.Fetching = true;
            _fetches.Writer.TryWrite(progress);
        }
    }
}
