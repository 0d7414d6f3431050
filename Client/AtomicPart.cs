namespace Broker.Client;

/// <summary>One topic's messages among those that are stored together; see PublishAtomicAsync.</summary>
public sealed record AtomicPart
{
    /// <summary>Dot-separated tokens, e.g. "orders.{42}.created"; 1 to 255 bytes of UTF-8.</summary>
    public required string Topic { get; init; }

    /// <summary>At least one; they get offsets one after the other.</summary>
    public required IReadOnlyList<BrokerMessage> Messages { get; init; }

    /// <summary>
    /// The partition, from 0. Default null: that of the keys, which must belong to one; of most topics the only one.
    /// </summary>
    public int? Partition { get; init; }

    /// <summary>
    /// The offset that the first message must get, or nothing is stored; parts before it on the topic count. Default
    /// null: no condition.
    /// </summary>
    public long? ExpectedOffset { get; init; }
}
