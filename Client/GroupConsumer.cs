namespace Broker.Client;

/// <summary>Where a consumer begins, and how much it may hold.</summary>
public sealed record ConsumeOptions
{
    /// <summary>
    /// What the group follows, if it is to be made when it does not exist: from the beginning of each topic, with the
    /// defaults of <see cref="GroupSettings"/>. An existing group must have the same. Null: the group must exist, the
    /// default.
    /// </summary>
    public IReadOnlyList<string>? Filters { get; init; }

    /// <summary>
    /// What mode the group is made with, if it is; an existing one must have the same. Null: Shared, or as the group
    /// has, the default.
    /// </summary>
    public GroupMode? Mode { get; init; }

    /// <summary>Names the consumer for operators; up to 255 bytes. Default: the client's name.</summary>
    public string? Consumer { get; init; }

    /// <summary>
    /// Records that the consumer may hold: 1 to 1,000. One does not count any more once its acknowledgement is on its
    /// way, or its nack or termination is answered. Default: 256.
    /// </summary>
    public int MaxUnsettledRecords { get; init; } = 256;

    /// <summary>The same in bytes; one large record more may come. 1 to 32 MiB. Default: 8 MiB.</summary>
    public long MaxUnsettledBytes { get; init; } = 8 * 1024 * 1024;
}

/// <summary>
/// A consumer of a group, until it is disposed. Enumerate it by one caller at a time, and settle each record: what is
/// not settled within the group's ack wait is delivered again, to whoever consumes. When a broker dies or hangs, it
/// goes on at another one, and what it holds can be settled all the same.
/// </summary>
public abstract class GroupConsumer : IAsyncEnumerable<GroupRecord>, IAsyncDisposable
{
    /// <summary>How long a record that was delivered is this consumer's, unless it is extended.</summary>
    public abstract TimeSpan AckWait { get; }

    /// <summary>The records, as long as it is asked for them.</summary>
    /// <param name="cancellationToken">Ends the enumeration, not the consumer.</param>
    /// <exception cref="InvalidOperationException">Somebody enumerates it already.</exception>
    /// <exception cref="BrokerClientException">GroupDeleted: the group was deleted.</exception>
    public abstract IAsyncEnumerator<GroupRecord> GetAsyncEnumerator(CancellationToken cancellationToken = default);

    /// <summary>
    /// Ends the consumer. What it was delivered and has not handed out goes back to the group at once; what was handed
    /// out can still be settled.
    /// </summary>
    /// <returns>Completes when it has gone back, after 2 s at most.</returns>
    public abstract ValueTask DisposeAsync();
}
