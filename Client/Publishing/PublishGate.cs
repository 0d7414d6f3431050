namespace Broker.Client.Publishing;

/// <summary>
/// Bounds the bytes of messages that wait for their answers. Who finds it full queues, and is let in in the order of
/// the calls: messages of one caller must not overtake each other here.
/// </summary>
internal sealed class PublishGate(long limitBytes, int maxWaiting)
{
    private readonly Lock _lock = new();
    private readonly Queue<GateWaiter> _waiting = new();

    // Bytes let in and not released. One message above the limit may pass alone, or it could never be sent.
    private long _usedBytes;
    private TaskCompletionSource? _drained;

    /// <summary>Completes when nothing waits for its answer, and nobody for room.</summary>
    public Task DrainAsync()
    {
        lock (_lock)
        {
            _drained ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            TellIfDrained();
            return _drained.Task;
        }
    }

    public bool TryEnter(int bytes)
    {
        lock (_lock)
        {
            if (_waiting.Count > 0 || !Fits(bytes))
            {
                return false;
            }

            _usedBytes += bytes;
            return true;
        }
    }

    /// <summary>Queues a caller, or lets it in when room came up meanwhile; false when too many wait already.</summary>
    public bool TryWait(GateWaiter waiter)
    {
        lock (_lock)
        {
            if (_waiting.Count >= maxWaiting)
            {
                return false;
            }

            _waiting.Enqueue(waiter);
        }

        Release(0);
        return true;
    }

    public void Release(int bytes)
    {
        List<TopicProducer>? woken = null;
        lock (_lock)
        {
            _usedBytes -= bytes;
            while (_waiting.TryPeek(out var waiter) && (waiter.IsCancelled || Fits(waiter.Bytes)))
            {
                _waiting.Dequeue();
                if (!waiter.IsCancelled)
                {
                    _usedBytes += waiter.Bytes;
                    if (waiter.Enter() is { } producer)
                    {
                        (woken ??= []).Add(producer);
                    }
                }
            }

            TellIfDrained();
        }

        if (woken is not null)
        {
            foreach (var producer in woken)
            {
                producer.Pump();
            }
        }
    }

    /// <summary>Turns away those who have waited too long; all of them when the client closes.</summary>
    public void FailOverdue(long now, Func<GateWaiter, BrokerClientException> error)
    {
        while (true)
        {
            GateWaiter? overdue;
            lock (_lock)
            {
                if (!_waiting.TryPeek(out overdue) || overdue.DeadlineAt > now)
                {
                    return;
                }

                _waiting.Dequeue();
                TellIfDrained();
            }

            overdue.Fail(error(overdue));
        }
    }

    private void TellIfDrained()
    {
        if (_drained is not null && _usedBytes == 0 && _waiting.Count == 0)
        {
            _drained.TrySetResult();
        }
    }

    private bool Fits(int bytes) => _usedBytes == 0 || _usedBytes + bytes <= limitBytes;
}
