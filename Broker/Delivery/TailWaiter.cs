namespace Broker.Delivery;

/// <summary>
/// One reader's place at the tail of a topic. It remembers at most one wake-up, so an append between a look at the
/// topic and <see cref="WaitAsync"/> is not missed, and a thousand appends wake the reader once. A wake-up may come
/// without a new record: look, and wait again.
/// </summary>
public sealed class TailWaiter : IDisposable
{
    private readonly TailSignal _signal;
    private readonly WakeUp _wakeUp = new();
    private int _disposed;

    internal TailWaiter(TailSignal signal, string topic)
    {
        _signal = signal;
        Topic = topic;
    }

    public string Topic { get; }

    /// <summary>Ends at once when the topic was appended to since the last call, otherwise when it is.</summary>
    public ValueTask WaitAsync(CancellationToken cancellationToken) => _wakeUp.WaitAsync(cancellationToken);

    /// <summary>Gives the place back.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            _signal.Remove(this);
        }
    }

    internal void Wake() => _wakeUp.Set();
}
