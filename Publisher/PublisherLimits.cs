namespace Publisher;

/// <summary>Every bound of the publisher in one place, each with the reason for its value.</summary>
internal static class PublisherLimits
{
    /// <summary>A record's value: the brokers' own limit, checked before the message is stored.</summary>
    public const int RecordBytes = 1024 * 1024;

    /// <summary>A record's key: the brokers' own limit.</summary>
    public const int KeyBytes = 8 * 1024;

    /// <summary>Headers of one record: the brokers' own limit.</summary>
    public const int HeadersPerRecord = 64;

    /// <summary>Name plus value of one header: the brokers' own limit.</summary>
    public const int HeaderBytes = 8 * 1024;

    /// <summary>A record's priority: the brokers' own limit.</summary>
    public const int MostPriority = 9;

    /// <summary>An idempotency key: room for a UUID or a digest with a name before it.</summary>
    public const int IdempotencyKeyBytes = 255;

    /// <summary>
    /// Rows of one chunk, the unit that is sent: large enough to amortize a round trip to the brokers.
    /// </summary>
    public const int ChunkRows = 1_000;

    /// <summary>
    /// Encoded bytes of one chunk: what one log entry of the brokers gathers. A single larger record stands alone.
    /// </summary>
    public const int ChunkBytes = 1024 * 1024;

    /// <summary>
    /// Rows and bytes of one insert: about 20 ms of Postgres' time, so that a caller never waits long for its turn.
    /// </summary>
    public const int InsertRows = 4_096;

    public const int InsertBytes = 8 * 1024 * 1024;

    /// <summary>Messages of one PublishBatch: all of them fit one insert.</summary>
    public const int BatchMessages = InsertRows;

    /// <summary>Requests that wait for the writer.</summary>
    public const int WaitingRequests = 8_192;

    /// <summary>
    /// Bytes of gRPC messages that have not come to their end; beyond it calls that wait for the rest of theirs are
    /// refused.
    /// </summary>
    public const long ReceivingBytes = 64 * 1024 * 1024;

    /// <summary>Bytes of requests that wait for the writer; beyond it callers wait, and streams are not read.</summary>
    public const int WaitingBytes = 64 * 1024 * 1024;

    /// <summary>
    /// Encoded chunks kept in memory until the brokers acknowledge them; beyond it they are read back from Postgres
    /// when their turn comes.
    /// </summary>
    public const int SendingBytes = 64 * 1024 * 1024;

    /// <summary>Bytes of chunks that one query reads back.</summary>
    public const int ReloadBytes = 4 * 1024 * 1024;

    /// <summary>
    /// Chunks under way per topic: below the 16 that the brokers remember of a producer, so that every retry is
    /// answered with its first offset.
    /// </summary>
    public const int InFlightPerTopic = 4;

    /// <summary>Chunks under way in all.</summary>
    public const int InFlight = 64;

    /// <summary>
    /// Acknowledged chunks that wait to be marked in the outbox; beyond it sending waits for Postgres.
    /// </summary>
    public const int WaitingMarks = 16_384;

    /// <summary>Chunks marked by one update.</summary>
    public const int MarkChunks = 2_000;

    /// <summary>Chunks that the relay takes at a time from one topic, and topics that it works on at once.</summary>
    public const int RelayChunks = 1_000;

    public const int RelayTopics = 8;

    /// <summary>
    /// Topics for which a producer id counts sequences; beyond it the process takes a new id and begins anew.
    /// </summary>
    public const int SequencedTopics = 100_000;

    /// <summary>
    /// Messages under way on one PublishStream; beyond it the stream is not read, so HTTP/2 holds the sender back.
    /// </summary>
    public const int MessagesPerStream = 1_024;

    /// <summary>Rows of repeated messages whose state one query asks for.</summary>
    public const int WatchedRows = 1_000;

    /// <summary>Rows deleted at a time by retention: short locks, small bursts of write-ahead log.</summary>
    public const int RetentionRows = 5_000;

    /// <summary>The largest gRPC message: a batch of the largest chunk's size and more.</summary>
    public const int GrpcMessageBytes = 5 * 1024 * 1024;
}
