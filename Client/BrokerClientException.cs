namespace Broker.Client;

/// <summary>
/// A call failed for good: the client has tried what it could. The message says what was asked, how often it was tried,
/// what the last broker answered, and what to do.
/// </summary>
/// <param name="message">What failed and what to do.</param>
/// <param name="code">The kind of failure.</param>
/// <param name="inner">The last failure underneath, if there is one.</param>
/// <param name="reason">What the broker called it.</param>
public sealed class BrokerClientException(
    string message, BrokerClientErrorCode code, Exception? inner = null, string reason = "")
    : Exception(message, inner)
{
    /// <summary>
    /// What the broker that answered last called it: a name from the contract's list (broker.v1.Reason), for example
    /// "OUT_OF_SEQUENCE". Empty when no broker gave a reason.
    /// </summary>
    public string Reason { get; } = reason;

    /// <summary>The kind of failure.</summary>
    public BrokerClientErrorCode Code { get; } = code;
}
