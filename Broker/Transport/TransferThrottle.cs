namespace Broker.Transport;

/// <summary>
/// Spreads what a node sends of snapshots and segments over time. All transfers share one rate, in the order in which
/// they ask.
/// </summary>
internal sealed class TransferThrottle(long bytesPerSecond, TimeProvider time)
{
    private readonly Lock _gate = new();
    private long _freeAt;

    /// <summary>Returns when the bytes may go out: at once when nothing went before them.</summary>
    public Task WaitAsync(int bytes, CancellationToken cancellationToken)
    {
        TimeSpan pause;
        lock (_gate)
        {
            var now = time.GetTimestamp();
            var begin = Math.Max(now, _freeAt);
            _freeAt = begin + (long)((double)bytes / bytesPerSecond * time.TimestampFrequency);
            pause = time.GetElapsedTime(now, begin);
        }

        return pause > TimeSpan.Zero ? Task.Delay(pause, time, cancellationToken) : Task.CompletedTask;
    }
}
