namespace Publisher;

/// <summary>Everything that the publisher logs: ids 8000 to 8999. Never a payload.</summary>
internal static partial class PublisherLog
{
    [LoggerMessage(8001, LogLevel.Information, "The outbox is ready; this process publishes as producer {ProducerId}")]
    public static partial void OutboxReady(this ILogger logger, long producerId);

    [LoggerMessage(8002, LogLevel.Warning, "Postgres is away; {What} is tried again")]
    public static partial void PostgresAway(this ILogger logger, string what, Exception error);

    [LoggerMessage(8003, LogLevel.Information, "Postgres is back after {Attempts} attempts")]
    public static partial void PostgresBack(this ILogger logger, int attempts);

    [LoggerMessage(8004, LogLevel.Warning,
        "An insert of {Rows} rows was given up with its outcome unknown; producer {OldId} is retired, {NewId} goes on")]
    public static partial void ProducerRetired(this ILogger logger, int rows, long oldId, long newId);

    [LoggerMessage(8005, LogLevel.Error, "Postgres refuses an insert of {Rows} rows")]
    public static partial void InsertRefused(this ILogger logger, int rows, Exception error);

    [LoggerMessage(8006, LogLevel.Warning,
        "The brokers do not take topic {Topic} at the moment; its messages wait in the outbox")]
    public static partial void BrokersAway(this ILogger logger, string topic, Exception error);

    [LoggerMessage(8007, LogLevel.Information, "The brokers take topic {Topic} again")]
    public static partial void BrokersBack(this ILogger logger, string topic);

    [LoggerMessage(8008, LogLevel.Error,
        "The brokers refuse {Count} messages of topic {Topic} for good, sequence {Sequence}: {Reason}")]
    public static partial void ChunkRefused(this ILogger logger, int count, string topic, long sequence, string reason);

    [LoggerMessage(8009, LogLevel.Warning,
        "Producer {OldId} has a hole in its sequence before {Sequence} on topic {Topic}; "
        + "its pending rows go on as producer {NewId}")]
    public static partial void ProducerRestamped(
        this ILogger logger, long oldId, long sequence, string topic, long newId);

    [LoggerMessage(8010, LogLevel.Information, "Relaying what producer {ProducerId} has left pending")]
    public static partial void RelayStarts(this ILogger logger, long producerId);

    [LoggerMessage(8011, LogLevel.Information, "Relayed {Rows} messages of producer {ProducerId}")]
    public static partial void RelayDone(this ILogger logger, long rows, long producerId);

    [LoggerMessage(8012, LogLevel.Warning, "Postgres is away; acknowledged chunks are marked later: {Waiting} wait")]
    public static partial void MarksWait(this ILogger logger, int waiting, Exception error);

    [LoggerMessage(8013, LogLevel.Debug, "Retention deleted old rows of the outbox up to {Id}")]
    public static partial void RetentionPage(this ILogger logger, long id);
}
