using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace Broker.ServiceDefaults.Http;

/// <summary>
/// Bounds how long open calls hold up a service that is told to stop. Streams end by themselves, with a status that
/// says so; this is for those that nobody ends: a slow upload, a client that does not read, a library's own stream.
/// </summary>
public static class StopGrace
{
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(1.5);

    /// <summary>
    /// Cuts connections that are still open a moment after the service was told to stop. For endpoints that are added
    /// to Kestrel after this.
    /// </summary>
    public static IServiceCollection AddStopGrace(this IServiceCollection services) =>
        services.Configure<KestrelServerOptions>(kestrel => kestrel.ConfigureEndpointDefaults(listen =>
        {
            var late = new CancellationTokenSource();
            listen.ApplicationServices.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping.Register(
                () => late.CancelAfter(Grace));
            listen.Use(next => async connection =>
            {
                await using var cut = late.Token.UnsafeRegister(
                    static connection => ((ConnectionContext)connection!).Abort(), connection);
                await next(connection);
            });
        }));
}
