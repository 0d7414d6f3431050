namespace Broker.Domain;

/// <content>Calls by HTTP and JSON.</content>
public static partial class Limits
{
    /// <summary>A body in JSON: a batch as large as one may be, in base64 and with the names of its fields.</summary>
    public const int HttpJsonBytes = 2 * 4 * 1024 * 1024;

    /// <summary>
    /// Bytes of bodies that a node holds at a time, until their calls are answered: of 64 publishes as large as a
    /// record may be. Beyond it calls are refused with a time to come back.
    /// </summary>
    public const long HttpBodyBytes = 64L * RecordBytes;

    /// <summary>
    /// Reads that write their answer at a time: each may hold twice <see cref="HttpReadBytes"/>. Those that wait for
    /// something to come hold nothing, and do not count.
    /// </summary>
    public const int HttpReadsAtOnce = 32;

    /// <summary>Bytes of records in one answer to a read, before they are JSON.</summary>
    public const int HttpReadBytes = 4 * 1024 * 1024;

    /// <summary>The same where the caller does not say: quick to make and to read.</summary>
    public const int DefaultHttpReadBytes = 1024 * 1024;

    /// <summary>Records in one answer to a read.</summary>
    public const int HttpReadRecords = 1_000;

    /// <summary>The same where the caller does not say.</summary>
    public const int DefaultHttpReadRecords = 100;

    /// <summary>How long a read or a fetch may wait: proxies give up on silent calls after about a minute.</summary>
    public const int HttpWaitMs = 60_000;

    /// <summary>
    /// How long any other call may take: above all waits of the broker's own (20 s for a drain). Callers of HTTP tell
    /// no deadline, and a call that nobody waits for must end.
    /// </summary>
    public const int HttpCallMs = 60_000;

    /// <summary>
    /// Silence after which a stream of events sends a comment, so that neither side takes the other for gone.
    /// </summary>
    public const int HttpHeartbeatMs = 15_000;

    /// <summary>
    /// Names of topics that an event's id remembers, in bytes of the encoded positions: of some thirty topics. An id
    /// comes with each event, and back in a header.
    /// </summary>
    public const int EventPositionBytes = 1_024;

    /// <summary>Characters of an idempotency key, as in the publisher service: a UUID and more.</summary>
    public const int IdempotencyKeyChars = 255;
}
