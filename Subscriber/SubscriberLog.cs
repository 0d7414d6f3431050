namespace Subscriber;

/// <summary>Everything that the subscriber logs: ids 9000 to 9999. Never a payload.</summary>
internal static partial class SubscriberLog
{
    [LoggerMessage(9001, LogLevel.Information, "The inbox is ready: {Topics} topics, {Subjects} subjects")]
    public static partial void InboxReady(this ILogger logger, int topics, int subjects);

    [LoggerMessage(9002, LogLevel.Warning, "Postgres is away; {What} is tried again")]
    public static partial void PostgresAway(this ILogger logger, string what, Exception error);

    [LoggerMessage(9003, LogLevel.Information, "Postgres is back after {Attempts} attempts")]
    public static partial void PostgresBack(this ILogger logger, int attempts);

    [LoggerMessage(9004, LogLevel.Warning,
        "The inbox is at offset {Actual} of topic {Topic}, not {Expected}: going on from there")]
    public static partial void PositionMoved(this ILogger logger, string topic, long expected, long actual);

    [LoggerMessage(9005, LogLevel.Warning, "The brokers cannot be asked at the moment: {What} is tried again")]
    public static partial void BrokersAway(this ILogger logger, string what, Exception error);

    [LoggerMessage(9006, LogLevel.Information, "The brokers answer again: {What}")]
    public static partial void BrokersBack(this ILogger logger, string what);

    [LoggerMessage(9007, LogLevel.Information,
        "Redis is not configured (ConnectionStrings:cache): messages come from the log only")]
    public static partial void RedisAbsent(this ILogger logger);

    [LoggerMessage(9008, LogLevel.Information, "The live feed from Redis works")]
    public static partial void RedisHealthy(this ILogger logger);

    [LoggerMessage(9009, LogLevel.Warning,
        "The live feed from Redis does not work: messages come from the log until it does")]
    public static partial void RedisAway(this ILogger logger);

    [LoggerMessage(9010, LogLevel.Warning, "Connecting to Redis failed; it is tried again")]
    public static partial void RedisFailed(this ILogger logger, Exception error);

    [LoggerMessage(9011, LogLevel.Warning,
        "A message on Redis channel {Channel} is no live batch; the log has what it should be")]
    public static partial void LiveMalformed(this ILogger logger, string channel, Exception? error);

    [LoggerMessage(9012, LogLevel.Information, "The brokers know live subscription {Name} with {Filters} filters")]
    public static partial void Registered(this ILogger logger, string name, int filters);

    [LoggerMessage(9013, LogLevel.Information,
        "Topic {Topic} has a gap from {From} to {To} in the live feed; reading it from the log")]
    public static partial void GapFound(this ILogger logger, string topic, long from, long to);

    [LoggerMessage(9014, LogLevel.Warning,
        "Topic {Topic} begins at offset {First} now; {Missed} messages before it are gone")]
    public static partial void LogTrimmed(this ILogger logger, string topic, long first, long missed);
}
