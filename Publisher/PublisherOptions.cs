namespace Publisher;

/// <summary>Settings of the publisher service, section "Publisher".</summary>
internal sealed class PublisherOptions
{
    public const string Section = "Publisher";

    /// <summary>Rows of the outbox that may wait for the brokers; beyond it publishes are refused (RESOURCE_EXHAUSTED).
    /// Default 1,000,000.</summary>
    public long MaxPending { get; set; } = 1_000_000;

    /// <summary>How long committed rows stay in the outbox. Default one day.</summary>
    public TimeSpan KeepCommitted { get; set; } = TimeSpan.FromDays(1);

    /// <summary>
    /// How long a caller waits for the brokers' acknowledgement when it sets no deadline. Default 30 s.
    /// </summary>
    public TimeSpan CommitTimeout { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>
    /// How long an insert is tried again while Postgres is away before its callers hear UNAVAILABLE. Default 10 s,
    /// which a restart of Postgres fits into.
    /// </summary>
    public TimeSpan StoreTimeout { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// A producer that has not been seen for so long is taken for dead, and its pending rows are sent by whoever finds
    /// them. Default 5 s. Too short costs duplicate sends, which the brokers drop; and an insert under way while
    /// Postgres goes away for longer than this is not tried again: its callers hear that the outcome is unknown.
    /// </summary>
    public TimeSpan DeadAfter { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>
    /// How often a process says that it is alive, and looks for rows that dead ones left behind. Default 1 s.
    /// </summary>
    public TimeSpan RelayInterval { get; set; } = TimeSpan.FromSeconds(1);
}
