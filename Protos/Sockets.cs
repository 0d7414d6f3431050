using System.Net.Sockets;
using Grpc.Core;

namespace Broker.Protocol;

/// <summary>
/// How the gRPC channels of the broker and of its client connect, and how it is seen that one did not.
/// </summary>
public static class Sockets
{
    /// <summary>
    /// For <see cref="SocketsHttpHandler.ConnectCallback"/>. With a callback of its own a channel connects when a call
    /// needs it and fails when it cannot. Without one gRPC looks after the connection itself: after a failure it
    /// refuses every call for a second, and then for longer and longer, up to two minutes, though the server be back.
    /// </summary>
    /// <param name="timeout">
    /// How long an attempt may take. The handler's own ConnectTimeout would cancel the call instead of saying why.
    /// </param>
    /// <returns>The callback. A stream owns its socket.</returns>
    public static Func<SocketsHttpConnectionContext, CancellationToken, ValueTask<Stream>> ConnectWithin(
        TimeSpan timeout) =>
        async (context, cancellationToken) =>
        {
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            patience.CancelAfter(timeout);
            var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            try
            {
                await socket.ConnectAsync(context.DnsEndPoint, patience.Token);
                return new NetworkStream(socket, ownsSocket: true);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                socket.Dispose();
                throw new SocketException((int)SocketError.TimedOut);
            }
            catch
            {
                socket.Dispose();
                throw;
            }
        };

    /// <summary>Whether a call failed before any connection came about, so that surely nothing was sent.</summary>
    /// <param name="failure">What the call, its reader or its writer threw.</param>
    /// <returns>True: nothing was sent. False: something may have been.</returns>
    public static bool NeverConnected(Exception failure) =>
        failure is RpcException { Status.DebugException: HttpRequestException inner } && inner is
        {
            HttpRequestError: HttpRequestError.ConnectionError or HttpRequestError.NameResolutionError
            or HttpRequestError.SecureConnectionError
        };
}
