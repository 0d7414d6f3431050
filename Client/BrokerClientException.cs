namespace Broker.Client;

/// <summary>
/// A call failed for good: the client has tried what it could. The message says what was asked, how often it was tried,
/// what the last broker answered, and what to do.
/// </summary>
/// <param name="message">What failed and what to do.</param>
/// <param name="code">The kind of failure.</param>
/// <param name="inner">The last failure underneath, if there is one.</param>
/// <param name="reason">What the broker called it.</param>
/// <param name="retryAfter">When to come back, if that is known.</param>
public sealed class BrokerClientException(
    string message, BrokerClientErrorCode code, Exception? inner = null, string reason = "",
    TimeSpan? retryAfter = null)
    : Exception(message, inner)
{
    /// <summary>
    /// What the broker that answered last called it: a name from the contract's list (broker.v1.Reason), for example
    /// "OUT_OF_SEQUENCE". Empty when no broker gave a reason.
    /// </summary>
    public string Reason { get; } = reason;

    /// <summary>The kind of failure.</summary>
    public BrokerClientErrorCode Code { get; } = code;

    /// <summary>
    /// The least time to wait before the same is tried again, as the broker said, or as the client guesses when a limit
    /// of its own is reached. Null, the default: not known; the client's own retries were made already.
    /// </summary>
    public TimeSpan? RetryAfter { get; } = retryAfter;

    /// <summary>
    /// The same call may succeed later, and repeating it does no harm: nothing was done this time. True of
    /// <see cref="BrokerClientErrorCode.Unavailable"/> and of what has a <see cref="RetryAfter"/>. False of
    /// <see cref="BrokerClientErrorCode.OutcomeUnknown"/>: a second message could be stored.
    /// </summary>
    public bool IsTransient => Code == BrokerClientErrorCode.Unavailable || RetryAfter is not null;

    /// <summary>
    /// The same failure for one more caller: an exception object must not be thrown to many, for each throw rewrites
    /// its stack trace.
    /// </summary>
    internal BrokerClientException Copy() => new(Message, Code, InnerException, Reason, RetryAfter);
}
