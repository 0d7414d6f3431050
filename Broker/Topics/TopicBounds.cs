using Broker.Domain;

namespace Broker.Topics;

/// <summary>
/// What a shard's topics may come to. The same on every replica, as it decides what is refused; only tests have others.
/// </summary>
public sealed record TopicBounds
{
    public int Topics { get; init; } = Limits.Topics;

    public int ProducersPerTopic { get; init; } = Limits.ProducersPerTopic;

    /// <summary>Of all topics together.</summary>
    public int Producers { get; init; } = Limits.ProducersPerShard;

    /// <summary>Of all topics together: see <see cref="Limits.DelayedPerShard"/>.</summary>
    public int Delayed { get; init; } = Limits.DelayedPerShard;

    /// <summary>See <see cref="Limits.ProducerExpiryMs"/>.</summary>
    public long ProducerExpiryMs { get; init; } = Limits.ProducerExpiryMs;

    /// <summary>
    /// How often silent producers are looked for, by the log's time: every 86 s when they are remembered for a day. A
    /// look passes over all topics, in a millisecond.
    /// </summary>
    public long ProducerSweepMs => Math.Max(1, ProducerExpiryMs / 1_000);
}
