using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace Broker.ServiceDefaults.Http;

/// <summary>
/// Bounds how long open calls hold up a service that is told to stop. Streams end by themselves, with a status that says
/// so; this is for those that nobody ends: a slow upload, a client that does not read, a library's own stream.
/// </summary>
public static class StopGrace
{
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(1);

    /// <summary>Cuts calls that are still open a second after the service was told to stop.</summary>
    public static IApplicationBuilder UseStopGrace(this IApplicationBuilder app)
    {
        ArgumentNullException.ThrowIfNull(app);
        var late = new CancellationTokenSource();
        app.ApplicationServices.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping.Register(
            () => late.CancelAfter(Grace));
        return app.Use(async (context, next) =>
        {
            await using var cut = late.Token.UnsafeRegister(
                static context => ((HttpContext)context!).Abort(), context);
            await next(context);
        });
    }
}
