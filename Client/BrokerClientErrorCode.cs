namespace Broker.Client;

/// <summary>Why a call of <see cref="BrokerClient"/> failed, and so what the caller can do.</summary>
public enum BrokerClientErrorCode
{
    /// <summary>Something else, e.g. a broker of another version. The message says what.</summary>
    Unknown = 0,

    /// <summary>A bad topic name, filter or message. Nothing was stored. Change the request.</summary>
    InvalidArgument,

    /// <summary>The topic does not exist.</summary>
    NotFound,

    /// <summary>The offset lies beyond the topic's end.</summary>
    OutOfRange,

    /// <summary>Something is too large, or a limit is reached. Nothing was stored. Send less.</summary>
    ResourceExhausted,

    /// <summary>
    /// The producer's sequence leaves a gap, or a newer epoch of the producer has published. Nothing was stored.
    /// </summary>
    FailedPrecondition,

    /// <summary>No broker could take the request in time. Nothing was stored. Try again.</summary>
    Unavailable,

    /// <summary>
    /// The request was sent, and no broker said in time what came of it: it may be stored or not. With a
    /// <see cref="ProducerStamp"/> of your own, send it again with the same stamp. Without, a second try may store it
    /// twice.
    /// </summary>
    OutcomeUnknown,

    /// <summary>The brokers do not let this client do that.</summary>
    PermissionDenied,

    /// <summary>There is a topic of that name which has other settings.</summary>
    AlreadyExists,

    /// <summary>
    /// Another offset is the topic's next one: somebody else has published, or not yet. Nothing was stored. Read on,
    /// and decide again.
    /// </summary>
    UnexpectedOffset,

    /// <summary>
    /// The topic was deleted while it was read. One of its name is another one, whose offsets begin at 0.
    /// </summary>
    TopicDeleted,

    /// <summary>
    /// Most replicas of the shard have lost what they promised, so that no broker can lead it. Nothing was stored. A
    /// retry does not help: the message says what each replica has lost, and what an operator can do.
    /// </summary>
    QuorumLost,

    /// <summary>The consumer group was deleted while it was used. One of its name is another one.</summary>
    GroupDeleted,

    /// <summary>
    /// Records were to be acknowledged together with what is published, and some are not the consumer's any more:
    /// nothing was published, and nothing acknowledged. They may be delivered again; forget what was made of them.
    /// </summary>
    LeaseLost,

    /// <summary>
    /// A request is stored, and no reply came in time. Somebody who could reply is there; the request may be worked on,
    /// now or later.
    /// </summary>
    NoReply,

    /// <summary>
    /// A request is stored, and no reply came in time: no consumer group with an open consumer follows its topic. One
    /// that comes later may still work on it.
    /// </summary>
    NoResponder,
}
