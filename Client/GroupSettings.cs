namespace Broker.Client;

/// <summary>
/// What a consumer group follows, and how it delivers. Creating a group, null means the default; updating one, null
/// means no change.
/// </summary>
public sealed record GroupSettings
{
    /// <summary>
    /// Topics to follow, those that come later too: 1 to 100 names in which '*' stands for one token and a last '&gt;'
    /// for one or more. Needed to create a group.
    /// </summary>
    public IReadOnlyList<string>? Filters { get; init; }

    /// <summary>
    /// How long a delivered record is its consumer's before it is delivered again, in whole milliseconds; 100 ms to a
    /// day. Default: 30 s.
    /// </summary>
    public TimeSpan? AckWait { get; init; }

    /// <summary>
    /// Deliveries of one record before it becomes a dead letter, at most 1,000; 0: as many as it takes. Default: 20.
    /// </summary>
    public int? MaxDeliveries { get; init; }

    /// <summary>
    /// Wait before the second delivery, the third, and so on, in whole milliseconds; the last one holds for all further
    /// ones. At most 20, each at most a day. Default: none.
    /// </summary>
    public IReadOnlyList<TimeSpan>? BackOff { get; init; }

    /// <summary>
    /// Records of one shard that may be delivered and not settled at a time, over all consumers; 1 to 100,000. Default:
    /// 10,000.
    /// </summary>
    public int? MaxOutstanding { get; init; }

    /// <summary>Whether what is given up is kept as a dead letter. Default: true.</summary>
    public bool? KeepDeadLetters { get; init; }

    /// <summary>Nothing is delivered meanwhile. Default: false.</summary>
    public bool? Paused { get; init; }

    /// <summary>How records are shared among consumers; never changes. Default: Shared.</summary>
    public GroupMode? Mode { get; init; }

    /// <summary>Which of the records that wait goes next. Default: Offset.</summary>
    public GroupOrder? Order { get; init; }
}

/// <summary>How a group shares its records among its consumers.</summary>
public enum GroupMode
{
    /// <summary>Each record goes to any one consumer. Most throughput, no order.</summary>
    Shared = 1,

    /// <summary>
    /// Records of one key go out in offset order, one at a time: the next one when the one before is settled. Whichever
    /// consumer is free gets it. Records without a key are free of order.
    /// </summary>
    KeyOrdered = 2,

    /// <summary>
    /// One consumer gets everything, in offset order of each topic; the others stand by, and take over in the order in
    /// which they came.
    /// </summary>
    Exclusive = 3,
}

/// <summary>Which of the records that wait to be delivered goes next.</summary>
public enum GroupOrder
{
    /// <summary>By offset in each partition; topics take turns. In a key-ordered group keys take turns.</summary>
    Offset = 1,

    /// <summary>Keys take turns: one that has much waiting does not keep the others waiting.</summary>
    Fair = 2,

    /// <summary>
    /// By <see cref="BrokerMessage.Priority"/>, the highest first, also of records that come again; keys of one
    /// priority take turns. Not in an exclusive group.
    /// </summary>
    Priority = 3,
}

/// <summary>A place in topics. Default: the beginning of what is kept.</summary>
public sealed record GroupPlace
{
    /// <summary>The beginning of what is kept.</summary>
    public static GroupPlace Beginning { get; } = new();

    /// <summary>Behind all that is there.</summary>
    public static GroupPlace End { get; } = new() { IsEnd = true };

    /// <summary>Behind all that is there. Ignored with Time or Offset.</summary>
    public bool IsEnd { get; init; }

    /// <summary>The first batch that the brokers took at this time or later, to the millisecond.</summary>
    public DateTimeOffset? Time { get; init; }

    /// <summary>The next record of one topic, or of one partition where it has several: for a seek alone.</summary>
    public long? Offset { get; init; }

    /// <summary>What is committed at a time or later.</summary>
    /// <param name="time">The time, to the millisecond.</param>
    public static GroupPlace At(DateTimeOffset time) => new() { Time = time };

    /// <summary>A record of one topic.</summary>
    /// <param name="offset">Its offset.</param>
    public static GroupPlace At(long offset) => new() { Offset = offset };
}

/// <summary>A consumer group, in short.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Paused">Nothing is delivered.</param>
/// <param name="Consumers">Consumers with an open stream; 0 in a list without figures.</param>
/// <param name="Lag">Records that it has not settled; 0 in a list without figures.</param>
/// <param name="DeadLetters">Dead letters that nobody took; 0 in a list without figures.</param>
public sealed record GroupInfo(string Name, bool Paused, int Consumers, long Lag, long DeadLetters);

/// <summary>A consumer group, and how far it is.</summary>
/// <param name="Group">In short.</param>
/// <param name="Settings">Every setting, none of them null.</param>
/// <param name="Consumers">Those with an open stream.</param>
/// <param name="Progress">By topic and partition.</param>
public sealed record GroupDetails(
    GroupInfo Group,
    GroupSettings Settings,
    IReadOnlyList<GroupConsumerInfo> Consumers,
    IReadOnlyList<GroupProgressInfo> Progress);

/// <summary>A consumer with an open stream.</summary>
/// <param name="Name">Its name; several may have the same.</param>
/// <param name="NodeId">The node at which its stream is open.</param>
/// <param name="Outstanding">Records that it holds.</param>
/// <param name="Credit">Records that it may still be sent.</param>
/// <param name="Served">
/// It is given records: in an exclusive group one consumer is, and the others stand by; in other groups all are. While
/// consumers come and go two may be for a moment.
/// </param>
public sealed record GroupConsumerInfo(string Name, int NodeId, int Outstanding, int Credit, bool Served = true);

/// <summary>How far a group is in one partition of a topic.</summary>
/// <param name="Topic">The topic.</param>
/// <param name="Partition">From 0.</param>
/// <param name="AckFloor">Every record before this offset is settled.</param>
/// <param name="NextOffset">The offset that the next record will get.</param>
/// <param name="Lag">Records that are not settled.</param>
/// <param name="LagTime">Age of the oldest of them; zero: none, or it is not known now.</param>
/// <param name="Outstanding">Records at consumers.</param>
/// <param name="Waiting">Records that wait for another delivery.</param>
/// <param name="Redeliveries">Deliveries beyond each record's first, since the shard's leader took office.</param>
/// <param name="Expired">Records whose time to live was over, since the shard's leader took office.</param>
public sealed record GroupProgressInfo(
    string Topic,
    int Partition,
    long AckFloor,
    long NextOffset,
    long Lag,
    TimeSpan LagTime,
    int Outstanding,
    int Waiting,
    long Redeliveries,
    long Expired = 0);

/// <summary>Where a record of a group is on its way.</summary>
public enum DeliveryState
{
    /// <summary>
    /// Goes to the next consumer that has room: not delivered yet, or to be delivered again, and its wait is over.
    /// </summary>
    Waiting = 1,

    /// <summary>A consumer has it, under a lease.</summary>
    Outstanding = 2,

    /// <summary>It is to be delivered again, and its wait is not over.</summary>
    Delayed = 3,

    /// <summary>It was given up: a dead letter.</summary>
    Dead = 4,
}

/// <summary>A record of a group, without its body: read that by the offset.</summary>
/// <param name="Topic">Where it was published; of a dead letter that was redriven "$dlq." and the group.</param>
/// <param name="Partition">From 0.</param>
/// <param name="Offset">Its offset there.</param>
/// <param name="Deliveries">How often it was delivered, the time under way included.</param>
public sealed record PeekedRecord(string Topic, int Partition, long Offset, int Deliveries)
{
    /// <summary>Of an outstanding one: the name of the consumer, whose stream may have ended. Else empty.</summary>
    public string Consumer { get; init; } = "";

    /// <summary>Of an outstanding one: the node at which that consumer's stream is, or was. Else 0.</summary>
    public int NodeId { get; init; }

    /// <summary>Of an outstanding one: when its lease ends, by the clock of the shard's leader.</summary>
    public DateTimeOffset? LeaseEnd { get; init; }

    /// <summary>Of a delayed one: when it is to be delivered again, by the same clock.</summary>
    public DateTimeOffset? Due { get; init; }

    /// <summary>
    /// Of a dead one: what the consumer said. Empty: it was delivered too often, or nothing was said.
    /// </summary>
    public string Reason { get; init; } = "";

    /// <summary>Of a dead one: names it, to be redriven or purged.</summary>
    public DeadLetterPosition? DeadPosition { get; init; }
}

/// <summary>Where a dead letter is in the topic of its group's dead letters.</summary>
/// <param name="Partition">Of that topic.</param>
/// <param name="Offset">In the partition.</param>
public readonly record struct DeadLetterPosition(int Partition, long Offset);

/// <summary>A record that a group gave up on.</summary>
/// <param name="Position">Names it.</param>
/// <param name="Record">As it was published: topic, partition, offset and time are those of then.</param>
/// <param name="Died">When it was given up.</param>
/// <param name="Attempts">Deliveries that it had.</param>
/// <param name="Reason">What the consumer said; empty: it was delivered too often, or nothing was said.</param>
public sealed record DeadLetter(
    DeadLetterPosition Position, BrokerRecord Record, DateTimeOffset Died, int Attempts, string Reason);
