using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Subscriber.Following;

/// <summary>
/// Whether the brokers' list of topics can be read: without it nothing finds a message whose live copy was lost.
/// </summary>
internal sealed class PollHealth(SubscriberOptions options, TimeProvider time) : IHealthCheck
{
    private readonly Lock _lock = new();
    private long _workedAt = time.GetTimestamp();
    private bool _hasWorked;
    private string? _error;

    public void Worked()
    {
        lock (_lock)
        {
            (_workedAt, _hasWorked, _error) = (time.GetTimestamp(), true, null);
        }
    }

    public void Failed(string error)
    {
        lock (_lock)
        {
            _error = error;
        }
    }

    /// <summary>A failure that lasts no longer than a poll may take is no reason to be taken out of service.</summary>
    public Task<HealthCheckResult> CheckHealthAsync(
        HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        lock (_lock)
        {
            var silence = time.GetElapsedTime(_workedAt);
            return Task.FromResult(_hasWorked && (_error is null || silence < options.BrokerTimeout)
                ? HealthCheckResult.Healthy()
                : HealthCheckResult.Unhealthy(
                    $"The brokers' list of topics was not read for {silence.TotalSeconds:N0} s: "
                    + (_error ?? "no answer yet")));
        }
    }
}
