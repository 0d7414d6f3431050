namespace Publisher;

/// <summary>Why a publish was refused; Api maps each to one gRPC status and one HTTP status.</summary>
internal enum PublishFailure
{
    /// <summary>A bad topic, header or batch. Sending it again cannot succeed.</summary>
    Invalid,

    /// <summary>Above a limit. Sending it again cannot succeed.</summary>
    TooLarge,

    /// <summary>It asks for what this version does not have. Nothing was stored.</summary>
    Unimplemented,

    /// <summary>Too much waits. Nothing was stored; send again later.</summary>
    Overloaded,

    /// <summary>
    /// Postgres is away, or the brokers did not acknowledge in time. The message says whether it is stored.
    /// </summary>
    Unavailable,
}

/// <summary>A refusal, worded for the caller: what was wrong, whether anything is stored, what to do.</summary>
internal sealed class PublishException(PublishFailure failure, string message, Exception? inner = null)
    : Exception(message, inner)
{
    public PublishFailure Failure { get; } = failure;
}
