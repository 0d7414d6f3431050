namespace Subscriber;

/// <summary>Exponential waits with jitter, so that many who lost the same thing do not come back in step.</summary>
internal sealed class Backoff(TimeSpan first, TimeSpan longest, TimeProvider time)
{
    public int Attempts { get; private set; }

    public Task WaitAsync(CancellationToken cancellationToken)
    {
        var bound = Math.Min(longest.TotalMilliseconds, first.TotalMilliseconds * Math.Pow(2, Math.Min(Attempts, 16)));
        Attempts++;
        return Task.Delay(
            TimeSpan.FromMilliseconds(bound * (0.5 + Random.Shared.NextDouble() / 2)), time, cancellationToken);
    }
}
