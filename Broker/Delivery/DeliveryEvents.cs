namespace Broker.Delivery;

/// <summary>What Delivery logs: event ids 5000 to 5999.</summary>
internal static partial class DeliveryEvents
{
    [LoggerMessage(
        5001, LogLevel.Information, "Redis is connected; live subscribers get batches as they are committed.")]
    public static partial void LiveConnected(ILogger logger);

    [LoggerMessage(
        5002,
        LogLevel.Warning,
        "Redis is away ({Reason}). Live subscribers fall back to the log; the connection is tried again.")]
    public static partial void LiveLost(ILogger logger, string reason);

    [LoggerMessage(
        5003,
        LogLevel.Warning,
        "Redis has owed an answer for {SlowAfter}. What does not fit the queue is dropped oldest first.")]
    public static partial void LiveSlow(ILogger logger, TimeSpan slowAfter);

    [LoggerMessage(
        5004, LogLevel.Warning, "{Dropped} batches were dropped from the live queue since Redis was last well.")]
    public static partial void LiveDropped(ILogger logger, long dropped);

    [LoggerMessage(5005, LogLevel.Error, "The live fan-out met an error that it does not know, and starts over.")]
    public static partial void LiveFailed(ILogger logger, Exception exception);

    [LoggerMessage(
        5006,
        LogLevel.Error,
        "Group '{Group}' passes over offsets {First} to {End} (the first that it does not) of topic '{Topic}': no "
        + "replica can read them.")]
    public static partial void GroupSkipsLost(ILogger logger, string group, string topic, long first, long end);

    [LoggerMessage(
        5007,
        LogLevel.Warning,
        "The topic for the dead letters of group '{Group}' could not be made ({Reason}); its records wait, and it is "
        + "tried again.")]
    public static partial void NoDeadLetters(ILogger logger, string group, string reason);

    [LoggerMessage(
        5008,
        LogLevel.Information,
        "The link to '{Node}' for consumer groups broke ({Reason}). It is opened anew when it is needed.")]
    public static partial void GroupLinkBroken(ILogger logger, string node, string reason);
}
