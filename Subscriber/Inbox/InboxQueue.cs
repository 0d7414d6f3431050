using System.Threading.Channels;

namespace Subscriber.Inbox;

/// <summary>
/// What waits for the inbox writer. Bounded by its two sources rather than by itself, so that adding never waits: pages
/// from the log hold a slot each, live batches are not added while too many of their bytes wait.
/// </summary>
internal sealed class InboxQueue
{
    private readonly Channel<Item> _items = Channel.CreateUnbounded<Item>(
        new UnboundedChannelOptions { SingleReader = true });
    private long _liveBytes;

    public bool HasRoomForLive => Interlocked.Read(ref _liveBytes) < SubscriberLimits.WaitingLiveBytes;

    public void Add(InboxAppend append, SemaphoreSlim? page)
    {
        if (append.Run.Source == MessageSource.Live)
        {
            Interlocked.Add(ref _liveBytes, append.Run.SizeBytes);
        }

        _items.Writer.TryWrite(new Item(append, page));
    }

    public ValueTask<bool> WaitAsync(CancellationToken cancellationToken) =>
        _items.Reader.WaitToReadAsync(cancellationToken);

    /// <summary>Takes what waits, up to the bounds of one transaction.</summary>
    public List<Item> Take()
    {
        var items = new List<Item>();
        var (rows, bytes) = (0, 0L);
        while (rows < SubscriberLimits.TransactionRows && bytes < SubscriberLimits.TransactionBytes
            && _items.Reader.TryRead(out var item))
        {
            rows += item.Append.Run.Count;
            bytes += item.Append.Run.SizeBytes;
            items.Add(item);
        }

        return items;
    }

    /// <summary>The items are in Postgres.</summary>
    public void Release(List<Item> items)
    {
        foreach (var (append, page) in items)
        {
            page?.Release();
            if (append.Run.Source == MessageSource.Live)
            {
                Interlocked.Add(ref _liveBytes, -append.Run.SizeBytes);
            }
        }
    }

    /// <summary>An append, and the slot that its page from the log holds.</summary>
    internal readonly record struct Item(InboxAppend Append, SemaphoreSlim? Page);
}
