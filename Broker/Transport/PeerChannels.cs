using System.Collections.Concurrent;
using Grpc.Net.Client;

namespace Broker.Transport;

/// <summary>
/// Connections to peers for calls that come often: one for each address, which stays; few, as there are few nodes.
/// </summary>
/// <param name="watched">See <see cref="PeerChannel.Open"/>.</param>
internal sealed class PeerChannels(bool watched) : IDisposable
{
    private readonly ConcurrentDictionary<Uri, Lazy<GrpcChannel>> _channels = new();

    public GrpcChannel To(Uri address) => _channels.GetOrAdd(
        address,
        static (to, watched) => new Lazy<GrpcChannel>(() => PeerChannel.Open(to, watched)),
        watched).Value;

    public void Dispose()
    {
        foreach (var channel in _channels.Values)
        {
            channel.Value.Dispose();
        }
    }
}
