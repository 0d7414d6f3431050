using Broker.Client.Connections;

namespace Broker.Client;

/// <summary>
/// A subscription by filter, which lasts until it is disposed. Enumerate it by one caller at a time: the records come
/// in the order of their offsets in each topic (in each partition), each once; between them there is no order. An
/// enumeration that ends before a record was asked for loses nothing: the next one goes on.
/// </summary>
public sealed class TopicSubscription : IAsyncEnumerable<BrokerRecord>, IAsyncDisposable
{
    private readonly FilterRead _read;
    private readonly ClientMetrics _metrics;
    private readonly Queue<BrokerRecord> _ready = new();
    private int _enumerating;

    internal TopicSubscription(FilterRead read, ClientMetrics metrics)
    {
        _read = read;
        _metrics = metrics;
    }

    /// <summary>The records, as long as it is asked for them. When a broker dies, it goes on at another one.</summary>
    /// <param name="cancellationToken">Ends the enumeration, not the subscription.</param>
    /// <exception cref="InvalidOperationException">Somebody enumerates it already.</exception>
    /// <exception cref="BrokerClientException">DataLost: no broker can give some records any more.</exception>
    public async IAsyncEnumerator<BrokerRecord> GetAsyncEnumerator(CancellationToken cancellationToken = default)
    {
        if (Interlocked.Exchange(ref _enumerating, 1) != 0)
        {
            throw new InvalidOperationException("A subscription is enumerated by one caller at a time.");
        }

        try
        {
            while (true)
            {
                while (_ready.TryDequeue(out var record))
                {
                    yield return record;
                }

                cancellationToken.ThrowIfCancellationRequested();
                Take(await _read.NextAsync(cancellationToken));
            }
        }
        finally
        {
            Volatile.Write(ref _enumerating, 0);
        }
    }

    /// <summary>Ends the subscription.</summary>
    public ValueTask DisposeAsync()
    {
        _read.Dispose();
        return ValueTask.CompletedTask;
    }

    private void Take(Protocol.Wire.SubscribeResponse response)
    {
        var page = response.Read;
        var partition = (int)response.Partition;
        var from = _read.PositionIn(response.Topic, partition, page.TopicId);
        foreach (var batch in page.Batches)
        {
            var records = new RecordCursor(response.Topic, partition, batch, from);
            while (records.TryNext(out var record))
            {
                _ready.Enqueue(record);
            }
        }

        _read.Advance(response.Topic, partition, page.TopicId, page.NextOffset);
        _metrics.Consumed(_ready.Count);
    }
}
