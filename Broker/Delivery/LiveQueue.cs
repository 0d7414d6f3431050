namespace Broker.Delivery;

/// <summary>
/// What waits for Redis, in order: bounded in batches and in bytes. When it is full the oldest go, because the newest
/// are worth most to a live subscriber, and the log has the others.
/// </summary>
internal sealed class LiveQueue(int maxFrames, long maxBytes)
{
    private readonly Queue<LiveFrame> _frames = new();
    private readonly Lock _lock = new();
    private readonly WakeUp _arrivals = new();

    private long _bytes;
    private long _dropped;

    /// <summary>Frames that were dropped, since the start.</summary>
    public long Dropped => Interlocked.Read(ref _dropped);

    public int Count
    {
        get
        {
            lock (_lock)
            {
                return _frames.Count;
            }
        }
    }

    /// <summary>Adds a frame. Takes a lock for nanoseconds, in which nobody waits for anything.</summary>
    public void Enqueue(in LiveFrame frame)
    {
        lock (_lock)
        {
            _frames.Enqueue(frame);
            _bytes += frame.Message.Length;
            while (_frames.Count > maxFrames || _bytes > maxBytes)
            {
                _bytes -= _frames.Dequeue().Message.Length;
                _dropped++;
            }
        }

        _arrivals.Set();
    }

    public bool TryDequeue(out LiveFrame frame)
    {
        lock (_lock)
        {
            if (!_frames.TryDequeue(out frame))
            {
                return false;
            }

            _bytes -= frame.Message.Length;
            return true;
        }
    }

    /// <summary>Ends when frames arrived since the last call; for one consumer.</summary>
    public ValueTask WaitAsync(CancellationToken cancellationToken) => _arrivals.WaitAsync(cancellationToken);
}
