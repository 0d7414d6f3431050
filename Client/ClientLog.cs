using Microsoft.Extensions.Logging;

namespace Broker.Client;

/// <summary>Everything that the client logs. Payloads are never logged.</summary>
internal static partial class ClientLog
{
    [LoggerMessage(
        10001,
        LogLevel.Information,
        "The publish stream to {Address} broke with {Batches} batches unanswered: {Failure}")]
    public static partial void StreamBroken(ILogger logger, Uri address, int batches, string failure);

    [LoggerMessage(10002, LogLevel.Debug, "The publish stream to {Address} has ended: {Failure}")]
    public static partial void StreamEnded(ILogger logger, Uri address, string failure);

    [LoggerMessage(10004, LogLevel.Debug, "Topic {Topic} is led by {Address}")]
    public static partial void LeaderLearned(ILogger logger, string topic, Uri address);

    [LoggerMessage(
        10005,
        LogLevel.Warning,
        "Producer {ProducerId:x} begins epoch {Epoch} on topic {Topic}: an earlier batch was given up")]
    public static partial void EpochRenewed(ILogger logger, string topic, ulong producerId, uint epoch);

    [LoggerMessage(10006, LogLevel.Warning, "{Count} messages for topic {Topic} failed ({Code}): {Failure}")]
    public static partial void PublishFailed(
        ILogger logger, string topic, int count, BrokerClientErrorCode code, string failure);

    [LoggerMessage(10007, LogLevel.Debug, "Reading topic {Topic} from {Address} broke at offset {Offset}: {Failure}")]
    public static partial void ReadBroken(ILogger logger, string topic, Uri address, long offset, string failure);

    [LoggerMessage(10008, LogLevel.Debug, "{What} at {Address} failed, trying elsewhere: {Failure}")]
    public static partial void CallFailed(ILogger logger, string what, Uri address, string failure);

    [LoggerMessage(
        10010,
        LogLevel.Debug,
        "{Count} records that were not handed out come again when their leases end: {Failure}")]
    public static partial void NotGivenBack(ILogger logger, int count, string failure);

    [LoggerMessage(
        10011, LogLevel.Warning, "The handler of group {Group} is interrupted, and goes on by itself: {Failure}")]
    public static partial void HandlerInterrupted(ILogger logger, string group, string failure);

    [LoggerMessage(
        10012,
        LogLevel.Warning,
        "Offset {Offset} of topic {Topic} failed in the handler of group {Group}, delivery {Attempt}; it comes again")]
    public static partial void HandlerFailed(
        ILogger logger, string topic, long offset, string group, int attempt, Exception failure);

    [LoggerMessage(
        10013,
        LogLevel.Warning,
        "Offset {Offset} of topic {Topic} is a dead letter of group {Group} now: {Reason}")]
    public static partial void HandlerRejected(
        ILogger logger, string topic, long offset, string group, string reason);

    [LoggerMessage(
        10014,
        LogLevel.Warning,
        "Offset {Offset} of topic {Topic} was not the handler's any more when it was done; group {Group} delivers it "
        + "again")]
    public static partial void HandledLate(ILogger logger, string topic, long offset, string group);

    [LoggerMessage(
        10015,
        LogLevel.Warning,
        "Offset {Offset} of topic {Topic} was handled and not settled; group {Group} may deliver it again: {Failure}")]
    public static partial void NotSettled(ILogger logger, string topic, long offset, string group, string failure);

    [LoggerMessage(10016, LogLevel.Information, "Connected to the broker at {Address}")]
    public static partial void Connected(ILogger logger, Uri address);

    [LoggerMessage(10017, LogLevel.Warning, "The broker at {Address} is lost: {Reason}")]
    public static partial void Lost(ILogger logger, Uri address, string reason);

    [LoggerMessage(
        10018,
        LogLevel.Warning,
        "The client closes, and something was still unanswered after {Seconds} s (DrainTimeout)")]
    public static partial void NotDrained(ILogger logger, double seconds);

    [LoggerMessage(10009, LogLevel.Debug, "The client is closed")]
    public static partial void Closed(ILogger logger);
}
