namespace Broker.Transport;

/// <summary>
/// Spreads over time what a node sends of snapshots, of segments for repair, and of its logs to nodes that are new. All
/// share one rate, in the order in which they ask.
/// </summary>
internal sealed class TransferThrottle(long bytesPerSecond, TimeProvider time)
{
    private readonly Lock _gate = new();
    private long _freeAt;

    /// <summary>Returns when the bytes may go out: at once when nothing went before them.</summary>
    public Task WaitAsync(int bytes, CancellationToken cancellationToken)
    {
        var (pause, _) = Take(bytes);
        return pause > TimeSpan.Zero ? Task.Delay(pause, time, cancellationToken) : Task.CompletedTask;
    }

    /// <summary>The bytes go out now: for how long whoever sent them should send no more.</summary>
    public TimeSpan Charge(long bytes) => Take(bytes).UntilThrough;

    private (TimeSpan UntilBegin, TimeSpan UntilThrough) Take(long bytes)
    {
        lock (_gate)
        {
            var now = time.GetTimestamp();
            var begin = Math.Max(now, _freeAt);
            _freeAt = begin + (long)((double)bytes / bytesPerSecond * time.TimestampFrequency);
            return (time.GetElapsedTime(now, begin), time.GetElapsedTime(now, _freeAt));
        }
    }
}
