namespace Broker.Client;

/// <summary>Works on the messages of a consumer group.</summary>
/// <typeparam name="T">What a message is.</typeparam>
public interface IBrokerHandler<T>
{
    /// <summary>
    /// Works on one message. When it returns, the message is finished. When it throws, the message is delivered again,
    /// as the group's back-off says, and after the group's max deliveries it is a dead letter;
    /// <see cref="MessageRejectedException"/> makes it one at once. As long as it works the message stays its own.
    /// Every message comes at least once: what it does should be the same when it is done again.
    /// </summary>
    /// <param name="message">The message.</param>
    /// <param name="cancellationToken">
    /// The result is not wanted any more: the lease is lost, or the program cannot wait any longer for its end.
    /// </param>
    /// <returns>Completes when the message is worked on.</returns>
    Task HandleAsync(HandledMessage<T> message, CancellationToken cancellationToken);
}

/// <summary>A message that was delivered to a handler.</summary>
/// <param name="Value">What it is.</param>
/// <param name="Delivery">Of the group: the record, how often it was delivered. Do not settle it.</param>
/// <typeparam name="T">What a message is.</typeparam>
public sealed record HandledMessage<T>(T Value, GroupRecord Delivery)
{
    /// <summary>Topic, offset, key and headers.</summary>
    public BrokerRecord Record => Delivery.Record;

    /// <summary>1: the first time.</summary>
    public int Attempt => Delivery.Attempt;
}

/// <summary>A handler will never be able to work on the message: it becomes a dead letter at once.</summary>
/// <param name="reason">Why, for who looks at dead letters; up to 1 KiB of UTF-8, cut beyond.</param>
public sealed class MessageRejectedException(string reason) : Exception(reason);

/// <summary>What a handler works on, and how much of it at a time.</summary>
public sealed record BrokerHandlerOptions
{
    /// <summary>
    /// What the group follows, if it is to be made when it does not exist; an existing group must have the same. Null:
    /// the group must exist, the default.
    /// </summary>
    public IReadOnlyList<string>? Filters { get; init; }

    /// <summary>What mode the group is made with, if it is; an existing one must have the same. Null: Shared.</summary>
    public GroupMode? Mode { get; init; }

    /// <summary>
    /// Messages that are worked on at a time: 1 to 500. Default: 8. In a group of the mode KeyOrdered those of a key
    /// come one by one all the same; in one of the mode Exclusive only 1 keeps the order.
    /// </summary>
    public int Concurrency { get; init; } = 8;

    /// <summary>When a message that failed comes again; null: as the group's back-off says, the default.</summary>
    public TimeSpan? RetryDelay { get; init; }

    /// <summary>How values are read; null: as <see cref="BrokerClientOptions.Serializer"/> does, the default.</summary>
    public IMessageSerializer? Serializer { get; init; }
}
