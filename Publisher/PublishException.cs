namespace Publisher;

/// <summary>Why a publish was refused; Api maps each to one gRPC status and one HTTP status.</summary>
internal enum PublishFailure
{
    /// <summary>A bad topic, header or batch. Sending it again cannot succeed.</summary>
    Invalid,

    /// <summary>Above a limit. Sending it again cannot succeed.</summary>
    TooLarge,

    /// <summary>Too much waits. Nothing was stored; send again later.</summary>
    Overloaded,

    /// <summary>Postgres is away. Nothing was stored; send again later.</summary>
    Unavailable,

    /// <summary>
    /// Postgres went away in the middle: the message may be stored, and is published then. Only with an idempotency
    /// key is it safe to send it again.
    /// </summary>
    OutcomeUnknown,

    /// <summary>The idempotency key names another message. Nothing was stored.</summary>
    KeyReused,

    /// <summary>There is no such message in the outbox.</summary>
    NotFound,
}

/// <summary>A refusal, worded for the caller: what was wrong, whether anything is stored, what to do.</summary>
internal sealed class PublishException(PublishFailure failure, string message, Exception? inner = null)
    : Exception(message, inner)
{
    public PublishFailure Failure { get; } = failure;
}
