namespace Subscriber.Inbox;

/// <summary>What the tail has after an id.</summary>
internal enum TailState
{
    /// <summary>Messages were taken.</summary>
    Taken,

    /// <summary>Nothing yet: wait for <see cref="InboxTail.Grown"/>.</summary>
    AtEnd,

    /// <summary>Older messages than the tail holds are wanted: read them from Postgres.</summary>
    Behind,

    /// <summary>The id lies beyond the end of the inbox, which was emptied.</summary>
    Beyond,
}

/// <summary>
/// The one reader for all who follow the inbox: it reads what is new once, and holds the newest messages in memory, so
/// that any number of streams costs Postgres as much as one. While nobody follows it does nothing.
/// </summary>
internal sealed class InboxTail(
    InboxPages pages, InboxGrowth growth, TimeProvider time, ILogger<InboxTail> logger) : BackgroundService
{
    // Another instance may have stored something without this one's signal.
    private static readonly TimeSpan LookAgain = TimeSpan.FromSeconds(1);

    private readonly Lock _lock = new();
    private readonly List<InboxMessage> _held = [];
    private readonly Signal _followed = new();
    private long _heldBytes;
    private int _followers;

    // Every message after the floor, up to the end, is held. -1: nothing is known.
    private long _floor = -1;
    private long _end = -1;

    /// <summary>Wakes those who wait at the end. Take the task before looking.</summary>
    public Signal Grown { get; } = new();

    /// <summary>Takes a place among those who follow; disposing gives it back. Errors: TooMany.</summary>
    public IDisposable Follow()
    {
        lock (_lock)
        {
            if (_followers >= SubscriberLimits.Streams)
            {
                throw new SubscriberException(
                    SubscriberFailure.TooMany,
                    $"{_followers} streams follow the inbox, which is the limit. Come again later, or read pages.");
            }

            _followers++;
        }

        _followed.Pulse();
        return new Place(this);
    }

    /// <summary>Adds the messages after an id, as many as one page has.</summary>
    public TailState Take(long after, List<InboxMessage> into)
    {
        lock (_lock)
        {
            if (_end < 0 || after == _end)
            {
                return TailState.AtEnd;
            }

            if (after > _end)
            {
                return TailState.Beyond;
            }

            if (after < _floor)
            {
                return TailState.Behind;
            }

            var bytes = 0;
            for (var i = FirstAfter(after); i < _held.Count && into.Count < SubscriberLimits.ReadRows; i++)
            {
                into.Add(_held[i]);
                bytes += _held[i].SizeBytes;
                if (bytes >= SubscriberLimits.ReadBytes)
                {
                    break;
                }
            }

            return TailState.Taken;
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var away = false;
        while (true)
        {
            var followed = _followed.Next;
            if (Volatile.Read(ref _followers) == 0)
            {
                await followed.WaitAsync(stoppingToken);
                continue;
            }

            try
            {
                await FollowAsync(stoppingToken);
                away = false;
            }
            catch (SubscriberException e)
            {
                if (!away)
                {
                    logger.PostgresAway("following the inbox", e);
                }

                away = true;
                await Task.Delay(LookAgain, time, stoppingToken);
            }
        }
    }

    private async Task FollowAsync(CancellationToken stoppingToken)
    {
        Begin(await pages.EndAsync(stoppingToken));
        while (Volatile.Read(ref _followers) > 0)
        {
            var growing = growth.Signal.Next;
            var page = await pages.ReadAsync(
                InboxPages.Condition.All, _end, SubscriberLimits.ReadRows, stoppingToken);
            if (page.Messages.Count > 0)
            {
                Add(page.Messages);
                continue;
            }

            await Task.WhenAny(growing, Task.Delay(LookAgain, time, stoppingToken));
            stoppingToken.ThrowIfCancellationRequested();
            if (!growing.IsCompleted && await pages.EndAsync(stoppingToken) is var end && end < _end)
            {
                Begin(end);  // Somebody has emptied the inbox.
            }
        }

        Begin(-1);
    }

    private void Begin(long end)
    {
        lock (_lock)
        {
            _held.Clear();
            (_floor, _end, _heldBytes) = (end, end, 0);
        }

        Grown.Pulse();
    }

    private void Add(IReadOnlyList<InboxMessage> messages)
    {
        lock (_lock)
        {
            _held.AddRange(messages);
            _heldBytes += messages.Sum(message => message.SizeBytes);
            _end = messages[^1].InboxId;
            var gone = 0;
            while (_heldBytes > SubscriberLimits.TailBytes || _held.Count - gone > SubscriberLimits.TailRows)
            {
                _heldBytes -= _held[gone].SizeBytes;
                _floor = _held[gone++].InboxId;
            }

            _held.RemoveRange(0, gone);
        }

        Grown.Pulse();
    }

    private int FirstAfter(long id)
    {
        var (low, high) = (0, _held.Count);
        while (low < high)
        {
            var middle = low + ((high - low) / 2);
            (low, high) = _held[middle].InboxId > id ? (low, middle) : (middle + 1, high);
        }

        return low;
    }

    private void Leave()
    {
        lock (_lock)
        {
            _followers--;
        }
    }

    private sealed class Place(InboxTail tail) : IDisposable
    {
        private int _given;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _given, 1) == 0)
            {
                tail.Leave();
            }
        }
    }
}
