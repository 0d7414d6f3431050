using Broker.Domain;

namespace Broker.Delivery;

/// <summary>How the live fan-out reaches Redis, and how much may wait for it.</summary>
public sealed record LiveFanOutOptions
{
    /// <summary>As StackExchange.Redis reads it: <c>host:port,password=...</c></summary>
    public required string ConnectionString { get; init; }

    public int QueueBatches { get; init; } = Limits.LiveQueueBatches;

    public long QueueBytes { get; init; } = Limits.LiveQueueBytes;

    /// <summary>
    /// A batch that is older when it is applied is not published: a new leader applies what it had not before, after a
    /// restart the whole log, and subscribers have read that from the log. Default 30 s, far above an election and
    /// clock differences.
    /// </summary>
    public TimeSpan MaxAge { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long Redis may owe an answer before it counts as slow. Default 1 s.</summary>
    public TimeSpan SlowAfter { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>How often a Redis that is away is looked at. Default 200 ms.</summary>
    public TimeSpan RetryDelay { get; init; } = TimeSpan.FromMilliseconds(200);
}
