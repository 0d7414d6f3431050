using Subscriber.Inbox;

namespace Subscriber.Following;

/// <summary>
/// How far a topic, or one partition of it, has come, and what waits for the gap before it to be filled. Pure: no
/// clock, no I/O. Its owner (TopicTable) holds the lock around every call. Runs leave in offset order, without gaps,
/// each offset once.
/// </summary>
internal sealed class TopicProgress(TopicPlace place, long next)
{
    private readonly SortedList<long, MessageRun> _ahead = [];

    /// <summary>Where the inbox will be: behind <see cref="Next"/> when what lies between is gone.</summary>
    private long _handed = next;

    public TopicPlace Place { get; } = place;

    /// <summary>The next offset to hand to the inbox.</summary>
    public long Next { get; private set; } = next;

    /// <summary>One past the highest offset that is known to exist.</summary>
    public long Target { get; private set; } = next;

    /// <summary>The first offset that the brokers still have.</summary>
    public long First { get; private set; }

    /// <summary>Whether something exists that has not been handed over.</summary>
    public bool Behind => Next < Target;

    /// <summary>Bytes of runs that wait for a gap to be filled.</summary>
    public long AheadBytes { get; private set; }

    /// <summary>A log read for the topic is asked for or under way.</summary>
    public bool Fetching { get; set; }

    /// <summary>Learns that offsets exist, without their messages.</summary>
    public void Announce(long firstOffset, long nextOffset)
    {
        First = Math.Max(First, firstOffset);
        Target = Math.Max(Target, nextOffset);
    }

    /// <summary>
    /// Takes a run. Adds what may be handed over now to the list, in order: the run without what is known already, and
    /// what waited behind it. A run beyond a gap is kept when it fits. Returns how many of its messages were known
    /// already.
    /// </summary>
    public int Offer(MessageRun run, long aheadLimitBytes, List<InboxAppend> handOver)
    {
        Target = Math.Max(Target, run.EndOffset);
        if (run.BaseOffset > Next)
        {
            return Keep(run, aheadLimitBytes);
        }

        var known = (int)Math.Min(run.Count, Next - run.BaseOffset);
        if (known < run.Count)
        {
            HandOver(run.From(Next), handOver);
            HandOverAhead(handOver);
        }

        return known;
    }

    /// <summary>Takes a run from the log although offsets before it are missing: the brokers lack them.</summary>
    public void OfferAfterGap(MessageRun run, List<InboxAppend> handOver)
    {
        Target = Math.Max(Target, run.EndOffset);
        HandOver(run, handOver);
        HandOverAhead(handOver);
    }

    /// <summary>The brokers have nothing before an offset that was not handed over.</summary>
    public void PassOver(long offset, List<InboxAppend> handOver)
    {
        Next = Math.Max(Next, offset);
        Target = Math.Max(Target, Next);
        HandOverAhead(handOver);
    }

    /// <summary>The inbox stands elsewhere than was thought: go on from there.</summary>
    public void Reset(long position)
    {
        Next = _handed = position;
        Target = Math.Max(Target, position);
        _ahead.Clear();
        AheadBytes = 0;
    }

    private int Keep(MessageRun run, long limitBytes)
    {
        if (_ahead.TryGetValue(run.BaseOffset, out var kept) && kept.Count >= run.Count)
        {
            return run.Count;
        }

        if (AheadBytes + run.SizeBytes <= limitBytes)
        {
            AheadBytes += run.SizeBytes - (kept?.SizeBytes ?? 0);
            _ahead[run.BaseOffset] = run;
        }

        return 0;
    }

    private void HandOver(MessageRun run, List<InboxAppend> handOver)
    {
        handOver.Add(new InboxAppend(this, _handed, run));
        Next = _handed = run.EndOffset;
    }

    private void HandOverAhead(List<InboxAppend> handOver)
    {
        while (_ahead.Count > 0 && _ahead.GetKeyAtIndex(0) <= Next)
        {
            var run = _ahead.GetValueAtIndex(0);
            _ahead.RemoveAt(0);
            AheadBytes -= run.SizeBytes;
            if (run.EndOffset > Next)
            {
                HandOver(run.From(Next), handOver);
            }
        }
    }
}
