using Broker.Domain;
using Broker.Protocol;
using Grpc.Net.Client;

namespace Broker.Transport;

/// <summary>
/// A connection of its own to a peer, for one stream or one purpose. Streams between peers do not share connections: a
/// transfer must not stand before a heartbeat in a socket's buffer, and a connection that a cut network has swallowed
/// must not carry the next attempt, which would then wait out TCP's growing pauses.
/// </summary>
internal static class PeerChannel
{
    /// <summary>
    /// A host that swallows packets is tried anew after this time, as long as a silent stream is kept.
    /// </summary>
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(2);

    /// <summary>A peer that hangs while a call waits for it is left after about two seconds.</summary>
    private static readonly TimeSpan PingInterval = TimeSpan.FromSeconds(1);

    /// <summary>A stream's first window: one envelope. HTTP/2 would begin with 64 KiB and grow.</summary>
    private const int FirstWindowSizeBytes = 1024 * 1024;

    /// <param name="address">The peer's endpoint.</param>
    /// <param name="watched">
    /// Whether to ask a peer that is silent for a second whether it lives, for calls that would wait for it. The
    /// streams between peers and the transfers have limits of their own.
    /// </param>
    public static GrpcChannel Open(Uri address, bool watched = false) => GrpcChannel.ForAddress(
        address,
        new GrpcChannelOptions
        {
            HttpHandler = MakeHandler(watched),
            DisposeHttpClient = true,
            MaxReceiveMessageSize = Limits.GrpcMessageBytes,
            MaxSendMessageSize = Limits.GrpcMessageBytes,
        });

    /// <summary>The same connections for calls that are passed on as they are.</summary>
    public static SocketsHttpHandler MakeHandler(bool watched) => new()
    {
        ConnectCallback = Sockets.ConnectWithin(ConnectTimeout),
        KeepAlivePingDelay = watched ? PingInterval : Timeout.InfiniteTimeSpan,
        KeepAlivePingTimeout = PingInterval,
        KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
        InitialHttp2StreamWindowSize = FirstWindowSizeBytes,
        AllowAutoRedirect = false,
        UseCookies = false,

        // Peers are neighbours; no HTTP proxy stands between them.
        UseProxy = false,
    };
}
