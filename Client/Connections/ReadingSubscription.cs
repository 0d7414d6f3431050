namespace Broker.Client.Connections;

/// <summary>The subscription that reads from brokers.</summary>
internal sealed class ReadingSubscription : TopicSubscription
{
    private readonly FilterRead _read;
    private readonly ClientMetrics _metrics;
    private readonly Queue<BrokerRecord> _ready = new();
    private int _enumerating;

    public ReadingSubscription(FilterRead read, ClientMetrics metrics)
    {
        _read = read;
        _metrics = metrics;
    }

    public override async IAsyncEnumerator<BrokerRecord> GetAsyncEnumerator(
        CancellationToken cancellationToken = default)
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

    public override ValueTask DisposeAsync()
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
