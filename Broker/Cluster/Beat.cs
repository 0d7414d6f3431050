namespace Broker.Cluster;

/// <summary>
/// The moments at which a node looks after things now and then: the same for all of them, the multiples of their
/// intervals on the machine's clock. So they share one wake-up of the timer's thread and of the pool's; such wake-ups
/// are most of what an idle node costs.
/// </summary>
internal static class Beat
{
    /// <summary>
    /// Completes at the next multiple of an interval, which is a millisecond or more; by another clock than the
    /// machine's (a test's) after an interval.
    /// </summary>
    /// <exception cref="OperationCanceledException">The token was cancelled first.</exception>
    public static Task NextAsync(TimeSpan interval, TimeProvider time, CancellationToken cancellationToken)
    {
        if (time != TimeProvider.System)
        {
            return Task.Delay(interval, time, cancellationToken);
        }

        // The clock by which the runtime's timers go: those that are due at the same millisecond of it fire together.
        return Task.Delay(WaitMs(Environment.TickCount64, (int)interval.TotalMilliseconds), cancellationToken);
    }

    /// <summary>From a moment until the next multiple of an interval: 1 to the interval.</summary>
    internal static int WaitMs(long nowMs, int intervalMs) => intervalMs - (int)(nowMs % intervalMs);
}
