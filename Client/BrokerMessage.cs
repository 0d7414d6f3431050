namespace Broker.Client;

/// <summary>
/// One message to publish. It is read during the call and may be changed or reused when the call has returned its task.
/// </summary>
public sealed record BrokerMessage
{
    /// <summary>
    /// Which partition of the topic it goes to, from 0. Null: that of its key; without a key to any. Default: null.
    /// </summary>
    public int? Partition { get; init; }

    /// <summary>Optional key, at most 8 KiB. It decides the partition. Default: empty.</summary>
    public ReadOnlyMemory<byte> Key { get; init; }

    /// <summary>The payload, at most 1 MiB. Default: empty.</summary>
    public ReadOnlyMemory<byte> Value { get; init; }

    /// <summary>
    /// At most 64 headers, each at most 8 KiB of name and value together. A name may occur twice. Default: none.
    /// </summary>
    public IReadOnlyList<KeyValuePair<string, ReadOnlyMemory<byte>>>? Headers { get; init; }

    /// <summary>
    /// For how long it is worth delivering, from when the leader takes it, in whole milliseconds, at least 1: after
    /// that consumer groups skip it. Reads and subscriptions get it as long as the topic keeps it. Null: as long as the
    /// topic keeps it. Default: null.
    /// </summary>
    public TimeSpan? TimeToLive { get; init; }

    /// <summary>
    /// Consumer groups get it no earlier than this, by the clock of the brokers, once, and about as soon as then; a
    /// time that has passed: at once. Its offset is given when it is published; reads and subscriptions get it then. A
    /// time to live counts from this time. A shard that has a million of them refuses more (ResourceExhausted). To the
    /// millisecond, not before 1970. Null: no delay. Default: null.
    /// </summary>
    public DateTimeOffset? DeliverAt { get; init; }

    /// <summary>
    /// From 0 to 9: consumer groups of the order <see cref="GroupOrder.Priority"/> deliver messages with a higher one
    /// first. Default: 0.
    /// </summary>
    public int Priority { get; init; }
}
