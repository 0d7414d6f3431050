namespace Broker.Domain;

/// <summary>Why the broker refused something; Api maps each to one gRPC status.</summary>
public enum RefusalCode
{
    None = 0,
    InvalidArgument,
    NotFound,
    OutOfRange,

    /// <summary>A limit: nothing was stored.</summary>
    ResourceExhausted,

    /// <summary>This replica does not lead the group: nothing was stored.</summary>
    NotLeader,

    /// <summary>No leader is known: nothing was stored.</summary>
    NoLeader,

    /// <summary>
    /// Leadership moved while the request was under way: it may or may not be stored. Retry with the same stamp.
    /// </summary>
    OutcomeUnknown,

    /// <summary>The producer's sequence leaves a gap: send the missing batches first.</summary>
    OutOfSequence,

    /// <summary>A newer epoch of the same producer has published.</summary>
    ProducerFenced,

    /// <summary>A precondition of the request does not hold.</summary>
    FailedPrecondition,

    /// <summary>The contract has it, this version has not: it is refused, never ignored.</summary>
    Unimplemented,

    /// <summary>
    /// The topic remembers as many producers as it may, and this one is new to it: nothing was stored.
    /// </summary>
    TooManyProducers,

    /// <summary>What was asked for is damaged on every replica.</summary>
    DataLost,

    /// <summary>What is to be made is there already, and is another one.</summary>
    AlreadyExists,

    /// <summary>The publish asked for another offset than the next one: nothing was stored.</summary>
    UnexpectedOffset,

    /// <summary>The topic was deleted; one of its name may be there that is another one.</summary>
    TopicDeleted,

    /// <summary>The node stops: nothing more is done here.</summary>
    Stopping,

    /// <summary>A queue is full at the moment: nothing was stored, retry later.</summary>
    Overloaded,

    /// <summary>A record is larger than its topic takes: nothing was stored.</summary>
    MessageTooLarge,

    /// <summary>Too many replicas have lost what they promised: no leader can be elected. Nothing was stored.</summary>
    QuorumLost,

    /// <summary>A node does not answer at the address that the request names: nothing was changed.</summary>
    NodeUnreachable,

    /// <summary>
    /// The topic's partitions are not those that the sender knows, or not made yet: nothing was stored, retry.
    /// </summary>
    PartitionsChanged,

    /// <summary>There is no such topic, and its first publish is not to make it: nothing was stored.</summary>
    AutoCreateOff,

    /// <summary>What is to be stored together lies in several shards: nothing was stored.</summary>
    DifferentShards,

    /// <summary>
    /// Of what is to be stored together a part is stored already, and another is not: nothing was stored.
    /// </summary>
    PartlyStored,

    /// <summary>The consumer group was deleted; one of its name may be there that is another one.</summary>
    GroupDeleted,

    /// <summary>The consumer group has another mode or other filters than the request.</summary>
    GroupDiffers,

    /// <summary>Some records are not the consumer's any more, and may be delivered again.</summary>
    LeaseLost,

    /// <summary>The topic holds the dead letters of a consumer group that exists.</summary>
    GroupExists,

    /// <summary>The shard has as many delayed records as it may: nothing was stored.</summary>
    TooManyDelayed,

    /// <summary>This replica cannot give what is to be read; another one may.</summary>
    ReadElsewhere,
}

/// <summary>A refusal. Made by <see cref="Refusal"/> only.</summary>
public sealed class BrokerException(RefusalCode code, string message, NodeId leaderHint, TimeSpan retryAfter)
    : Exception(message)
{
    public RefusalCode Code { get; } = code;

    /// <summary>Who leads, where that helps; none otherwise.</summary>
    public NodeId LeaderHint { get; } = leaderHint;

    /// <summary>How long to wait before a retry; zero: at will.</summary>
    public TimeSpan RetryAfter { get; } = retryAfter;

    /// <summary>
    /// Records for which all of a request was refused, as the contract names them (PublishAtomic); empty: it was for
    /// something else.
    /// </summary>
    public string Lost { get; init; } = "";
}
