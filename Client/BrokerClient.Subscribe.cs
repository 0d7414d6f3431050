using Broker.Client.Connections;

namespace Broker.Client;

public sealed partial class BrokerClient
{
    /// <summary>
    /// Follows all topics that filters match, those that come later too. What is acknowledged after this has returned
    /// is not missed. When a broker dies or hangs, it goes on at another one. A caller that is slow falls behind and
    /// loses nothing that the topics keep. Of each topic that it has seen it remembers how far it is (some 200 bytes).
    /// </summary>
    /// <param name="filters">
    /// 1 to 100 topic names in which '*' stands for one token and a last '&gt;' for one or more.
    /// </param>
    /// <param name="options">Where to begin; by default at the end.</param>
    /// <param name="cancellationToken">Ends the waiting for a broker.</param>
    /// <returns>The subscription: enumerate it, and dispose it.</returns>
    /// <exception cref="BrokerClientException">
    /// InvalidArgument: no filter, too many, or a bad one. Unavailable: no broker answered for OperationTimeout.
    /// </exception>
    public async ValueTask<TopicSubscription> SubscribeAsync(
        IEnumerable<string> filters, SubscribeOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(filters);
        ObjectDisposedException.ThrowIf(_isClosing, this);
        var read = new FilterRead(
            [.. filters], options ?? new SubscribeOptions(), _connections, _options, _time, _logger);
        try
        {
            await read.OpenAsync(forever: false, cancellationToken);
            return new ReadingSubscription(read, _metrics);
        }
        catch
        {
            read.Dispose();
            throw;
        }
    }
}
