namespace Broker.ServiceDefaults;

/// <summary>
/// Waits between attempts that double. Half of each wait is chance, so that many who lost the same thing do not come
/// back in step.
/// </summary>
/// <param name="first">The longest first wait.</param>
/// <param name="longest">The longest of all waits.</param>
/// <param name="time">The clock that is waited by.</param>
public sealed class Backoff(TimeSpan first, TimeSpan longest, TimeProvider time)
{
    /// <summary>Waits that began since the last success.</summary>
    public int Attempts { get; private set; }

    public Task WaitAsync(CancellationToken cancellationToken)
    {
        Attempts++;
        return Task.Delay(Draw(Attempts, first, longest), time, cancellationToken);
    }

    /// <summary>After a success: the next wait is a first one.</summary>
    public void Reset() => Attempts = 0;

    /// <summary>How long to wait before another attempt, from 1.</summary>
    public static TimeSpan Draw(int attempt, TimeSpan first, TimeSpan longest)
    {
        const int MostDoublings = 16;
        var bound = Math.Min(longest.Ticks, first.Ticks << Math.Clamp(attempt - 1, 0, MostDoublings));
        return TimeSpan.FromTicks((long)(bound * (0.5 + (Random.Shared.NextDouble() / 2))));
    }
}
