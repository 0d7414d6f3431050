using Broker.Client.Consuming;
using Microsoft.Extensions.Logging;

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
public sealed class GroupConsumer : IAsyncEnumerable<GroupRecord>, IAsyncDisposable
{
    private static readonly TimeSpan GiveBackPatience = TimeSpan.FromSeconds(2);

    private readonly GroupRead _read;
    private readonly BrokerClient _client;
    private readonly ClientMetrics _metrics;
    private readonly ILogger _logger;
    private readonly Queue<GroupRecord> _ready = new();
    private int _enumerating;

    internal GroupConsumer(GroupRead read, BrokerClient client, ClientMetrics metrics, ILogger logger)
    {
        _read = read;
        _client = client;
        _metrics = metrics;
        _logger = logger;
    }

    /// <summary>How long a record that was delivered is this consumer's, unless it is extended.</summary>
    public TimeSpan AckWait => _read.AckWait;

    /// <summary>The records, as long as it is asked for them.</summary>
    /// <param name="cancellationToken">Ends the enumeration, not the consumer.</param>
    /// <exception cref="InvalidOperationException">Somebody enumerates it already.</exception>
    /// <exception cref="BrokerClientException">GroupDeleted: the group was deleted.</exception>
    public async IAsyncEnumerator<GroupRecord> GetAsyncEnumerator(CancellationToken cancellationToken = default)
    {
        if (Interlocked.Exchange(ref _enumerating, 1) != 0)
        {
            throw new InvalidOperationException("A consumer is enumerated by one caller at a time.");
        }

        try
        {
            while (true)
            {
                while (_ready.TryDequeue(out var record))
                {
                    _read.HandedOut();
                    yield return record;
                }

                cancellationToken.ThrowIfCancellationRequested();
                var (delivery, held) = await _read.NextAsync(cancellationToken);
                Take(delivery, held);
                _metrics.Consumed(_ready.Count);
            }
        }
        finally
        {
            Volatile.Write(ref _enumerating, 0);
        }
    }

    /// <summary>
    /// Ends the consumer. What it was delivered and has not handed out goes back to the group at once; what was handed
    /// out can still be settled.
    /// </summary>
    public async ValueTask DisposeAsync()
    {
        using var patience = new CancellationTokenSource(GiveBackPatience);
        if (Interlocked.Exchange(ref _enumerating, 1) == 0)
        {
            foreach (var delivery in await _read.StopAsync(patience.Token))
            {
                Take(delivery, null);
            }
        }

        await _read.DisposeAsync();
        try
        {
            await Task.WhenAll(_ready.Select(record =>
                record.NackAsync(TimeSpan.Zero, patience.Token).AsTask()));
        }
        catch (Exception failure) when (
            failure is BrokerClientException or OperationCanceledException or ObjectDisposedException)
        {
            // They come again when their leases end.
            ClientLog.NotGivenBack(_logger, _ready.Count, failure.Message);
        }

        _ready.Clear();
    }

    private void Take(Protocol.Wire.Delivery delivery, HeldDelivery? held)
    {
        foreach (var record in GroupRecord.Of(delivery, _client, held))
        {
            _ready.Enqueue(record);
        }
    }
}
