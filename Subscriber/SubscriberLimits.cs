namespace Subscriber;

/// <summary>Every bound of the subscriber in one place, each with the reason for its value.</summary>
internal static class SubscriberLimits
{
    /// <summary>Subjects in all: the brokers' own limit for the filters of one live subscription.</summary>
    public const int Subjects = 100;

    /// <summary>
    /// Log reads at the same time: enough to keep the inbox writer busy, few enough to spare the brokers.
    /// </summary>
    public const int LogReads = 8;

    /// <summary>Records that one log read takes before another topic gets its turn.</summary>
    public const int RecordsPerLogRead = 20_000;

    /// <summary>Records and bytes that go to the writer as one piece.</summary>
    public const int PageRecords = 1_000;

    public const int PageBytes = 512 * 1024;

    /// <summary>Pages from the log that wait for the writer; beyond it the reading waits. About 32 MiB.</summary>
    public const int WaitingLogPages = 64;

    /// <summary>
    /// Bytes of live batches that wait for the writer; beyond it they are dropped and read from the log later.
    /// </summary>
    public const int WaitingLiveBytes = 32 * 1024 * 1024;

    /// <summary>
    /// Bytes of live batches kept while the gap before them is filled, per topic and in all; beyond it they are dropped
    /// and read from the log like the gap.
    /// </summary>
    public const int AheadBytesPerTopic = 4 * 1024 * 1024;

    public const int AheadBytes = 64 * 1024 * 1024;

    /// <summary>Rows and bytes of one transaction of the inbox: about 20 ms of Postgres' time.</summary>
    public const int TransactionRows = 4_096;

    public const int TransactionBytes = 8 * 1024 * 1024;

    /// <summary>
    /// Messages and bytes that one query for a reader downstream takes, and the reader holds: small, for there may be
    /// as many readers as <see cref="Streams"/>. A single larger message comes alone.
    /// </summary>
    public const int ReadRows = 500;

    public const int ReadBytes = 512 * 1024;

    /// <summary>
    /// Connections to Postgres that all readers downstream share: enough to keep it busy, and the writer has its own.
    /// </summary>
    public const int ReadConnections = 8;

    /// <summary>Streams that follow the inbox, over HTTP and gRPC together; each may hold a page.</summary>
    public const int Streams = 1_000;

    /// <summary>The newest messages that are held for all streams; who is further behind reads from Postgres.</summary>
    public const int TailRows = 16_384;

    public const int TailBytes = 32 * 1024 * 1024;

    /// <summary>Messages of one transaction whose headers are looked at for traces: about 30 µs.</summary>
    public const int RecordsLookedAtForTraces = 1_024;

    /// <summary>The most messages of one GET /messages.</summary>
    public const int MessagesPerGet = 1_000;

    /// <summary>
    /// How long the health check waits for Redis, so that a Redis that hangs does not hold up the answer.
    /// </summary>
    public static readonly TimeSpan RedisCheck = TimeSpan.FromSeconds(1);
}
