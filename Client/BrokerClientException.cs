namespace Broker.Client;

/// <summary>
/// A call failed for good: the client has tried what it could. The message says what was asked, how often it was tried,
/// what the last broker answered, and what to do.
/// </summary>
/// <param name="message">What failed and what to do.</param>
/// <param name="code">The kind of failure.</param>
/// <param name="inner">The last failure underneath, if there is one.</param>
public sealed class BrokerClientException(string message, BrokerClientErrorCode code, Exception? inner = null)
    : Exception(message, inner)
{
    /// <summary>The kind of failure.</summary>
    public BrokerClientErrorCode Code { get; } = code;
}
