using Microsoft.Extensions.Logging;

namespace Broker.Client.Consuming;

/// <summary>The consumer of a group that reads from brokers.</summary>
internal sealed class ReadingGroupConsumer : GroupConsumer
{
    private static readonly TimeSpan GiveBackPatience = TimeSpan.FromSeconds(2);

    private readonly string _group;
    private readonly GroupRead _read;
    private readonly BrokerClient _client;
    private readonly ClientMetrics _metrics;
    private readonly ILogger _logger;
    private readonly Queue<GroupRecord> _ready = new();
    private int _enumerating;

    public ReadingGroupConsumer(
        string group, GroupRead read, BrokerClient client, ClientMetrics metrics, ILogger logger)
    {
        _group = group;
        _read = read;
        _client = client;
        _metrics = metrics;
        _logger = logger;
    }

    public override TimeSpan AckWait => _read.AckWait;

    public override async IAsyncEnumerator<GroupRecord> GetAsyncEnumerator(
        CancellationToken cancellationToken = default)
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
                _metrics.Consumed(_ready.Count, _group);
            }
        }
        finally
        {
            Volatile.Write(ref _enumerating, 0);
        }
    }

    public override async ValueTask DisposeAsync()
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
