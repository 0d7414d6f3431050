namespace Broker.Client;

/// <summary>
/// A subscription by filter, which lasts until it is disposed. Enumerate it by one caller at a time: the records come
/// in the order of their offsets in each topic (in each partition), each once; between them there is no order. An
/// enumeration that ends before a record was asked for loses nothing: the next one goes on.
/// </summary>
public abstract class TopicSubscription : IAsyncEnumerable<BrokerRecord>, IAsyncDisposable
{
    /// <summary>The records, as long as it is asked for them. When a broker dies, it goes on at another one.</summary>
    /// <param name="cancellationToken">Ends the enumeration, not the subscription.</param>
    /// <exception cref="InvalidOperationException">Somebody enumerates it already.</exception>
    /// <exception cref="BrokerClientException">DataLost: no broker can give some records any more.</exception>
    public abstract IAsyncEnumerator<BrokerRecord> GetAsyncEnumerator(CancellationToken cancellationToken = default);

    /// <summary>Ends the subscription.</summary>
    /// <returns>Completes when it has ended.</returns>
    public abstract ValueTask DisposeAsync();
}
