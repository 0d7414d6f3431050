namespace Broker.Client.Connections;

/// <summary>
/// Full jitter below a bound that is a third of the time since the first failure: exponential growth that never sleeps
/// through much more than the outage itself, so that a failover of 200 ms costs little more than 200 ms.
/// </summary>
internal static class RetryDelay
{
    public static TimeSpan After(TimeSpan sinceFirstFailure, BrokerClientOptions options)
    {
        var bound = Math.Clamp(
            sinceFirstFailure.TotalMilliseconds / 3,
            options.RetryDelayMin.TotalMilliseconds,
            options.RetryDelayMax.TotalMilliseconds);

        // Timers count whole milliseconds; a wait of none would be a busy loop.
        return TimeSpan.FromMilliseconds(Math.Max(1, Random.Shared.NextDouble() * bound));
    }
}
