namespace Broker.Client;

/// <summary>One committed message, as the brokers keep it.</summary>
public sealed record BrokerRecord
{
    /// <summary>The topic that it was published to.</summary>
    public required string Topic { get; init; }

    /// <summary>The partition that it was stored in, from 0.</summary>
    public int Partition { get; init; }

    /// <summary>Its position in the partition. Offsets begin at 0 and have no gaps.</summary>
    public required long Offset { get; init; }

    /// <summary>
    /// When the leader took it, by the leader's clock, to the millisecond. Never goes back within a topic.
    /// </summary>
    public required DateTimeOffset Timestamp { get; init; }

    /// <summary>The key; empty when the message has none.</summary>
    public ReadOnlyMemory<byte> Key { get; init; }

    /// <summary>The payload.</summary>
    public ReadOnlyMemory<byte> Value { get; init; }

    /// <summary>The headers in the order in which they were published; empty when the message has none.</summary>
    public IReadOnlyList<KeyValuePair<string, ReadOnlyMemory<byte>>> Headers { get; init; } = [];

    /// <summary>
    /// How long after <see cref="Timestamp"/> (after <see cref="DeliverAt"/> where that is later) consumer groups
    /// deliver it no more; null: no such time was given.
    /// </summary>
    public TimeSpan? TimeToLive { get; init; }

    /// <summary>
    /// Consumer groups get it no earlier than this; null: no such time was given. See <see
    /// cref="BrokerMessage.DeliverAt"/>.
    /// </summary>
    public DateTimeOffset? DeliverAt { get; init; }

    /// <summary>From 0 to 9, see <see cref="BrokerMessage.Priority"/>.</summary>
    public int Priority { get; init; }
}
