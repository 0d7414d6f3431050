using System.Net.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace Broker.ServiceDefaults.Http;

/// <summary>
/// Bounds how long open calls hold up a service that is told to stop. Streams end by themselves, with a status that
/// says so; this is for those that nobody ends: a slow upload, a client that does not read, a library's own stream.
/// <para>And lets clients hear that status. HttpClient forgets what has come of a call whose request is still open
/// when the connection ends before the caller has read it: it tells INTERNAL in the place of an answer and of
/// UNAVAILABLE. So an HTTP/2 connection, whose client was told to go (GOAWAY), is closed by the client, or a second
/// later.</para>
/// </summary>
public static class StopGrace
{
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(1.5);
    private static readonly TimeSpan LeaveTime = TimeSpan.FromSeconds(1);

    /// <summary>
    /// Cuts connections that are still open a moment after the service was told to stop. For endpoints that are added
    /// to Kestrel after this.
    /// </summary>
    public static IServiceCollection AddStopGrace(this IServiceCollection services) =>
        services.Configure<KestrelServerOptions>(kestrel => kestrel.ConfigureEndpointDefaults(listen =>
        {
            var late = new CancellationTokenSource();
            var life = listen.ApplicationServices.GetRequiredService<IHostApplicationLifetime>();
            life.ApplicationStopping.Register(() => late.CancelAfter(Grace));
            listen.Use(next => async connection =>
            {
                await using var cut = late.Token.UnsafeRegister(
                    static connection => ((ConnectionContext)connection!).Abort(), connection);
                await next(connection);
                if (life.ApplicationStopping.IsCancellationRequested && listen.Protocols == HttpProtocols.Http2
                    && connection.Features.Get<IConnectionSocketFeature>() is { Socket: var socket })
                {
                    await UntilClosedAsync(socket);
                }
            });
        }));

    // The token that tells of a closed connection tells it also when anything comes that HTTP/2 does not read any more.
    private static async Task UntilClosedAsync(Socket socket)
    {
        using var late = new CancellationTokenSource(LeaveTime);
        try
        {
            var unread = new byte[256];
            while (await socket.ReceiveAsync(unread, late.Token) > 0)
            {
                // What the client says as it leaves.
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // It is late, or the connection broke or was cut.
        }
    }
}
