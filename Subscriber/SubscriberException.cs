namespace Subscriber;

/// <summary>Why a request was refused; Api maps each to one gRPC status and one HTTP status.</summary>
internal enum SubscriberFailure
{
    /// <summary>A bad filter or parameter.</summary>
    Invalid,

    /// <summary>The subject is set by configuration, so it cannot be removed here.</summary>
    Configured,

    /// <summary>Too many subjects or streams.</summary>
    TooMany,

    /// <summary>An id beyond the inbox's end.</summary>
    OutOfRange,

    /// <summary>Postgres is away.</summary>
    Unavailable,
}

/// <summary>A refusal, worded for the caller.</summary>
internal sealed class SubscriberException(SubscriberFailure failure, string message, Exception? inner = null)
    : Exception(message, inner)
{
    public SubscriberFailure Failure { get; } = failure;
}
