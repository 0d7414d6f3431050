using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.DependencyInjection;

namespace Broker.ServiceDefaults;

/// <summary>
/// The server as it is, but a port that it cannot bind is told in words that name the setting. The check belongs to the
/// binding itself: a port that was free a moment before may be taken.
/// </summary>
internal sealed class BindingServer(IServer inner, string configurationKey, int port) : IServer
{
    public IFeatureCollection Features => inner.Features;

    public static void Decorate(IServiceCollection services, string configurationKey, int port)
    {
        var descriptor = services.LastOrDefault(service => service.ServiceType == typeof(IServer));
        if (descriptor?.ImplementationType is { } type)
        {
            services.AddSingleton<IServer>(provider => new BindingServer(
                (IServer)ActivatorUtilities.CreateInstance(provider, type), configurationKey, port));
        }
    }

    public async Task StartAsync<TContext>(IHttpApplication<TContext> application, CancellationToken cancellationToken)
        where TContext : notnull
    {
        // The configured addresses are among the endpoints that were added in code; Kestrel warns when it finds them
        // here as well.
        inner.Features.Get<IServerAddressesFeature>()?.Addresses.Clear();
        try
        {
            await inner.StartAsync(application, cancellationToken).ConfigureAwait(false);
        }
        catch (IOException exception) when (exception.InnerException is AddressInUseException)
        {
            // Without the cause: it says the same again, in forty lines of the host's log.
            throw new StartupException(
                $"{exception.Message.TrimEnd('.')}. Another process listens there. The setting {configurationKey} "
                + "gives the "
                + $"gRPC port ({port}), ASPNETCORE_URLS the others: choose a free one, or stop the other process.");
        }
    }

    public Task StopAsync(CancellationToken cancellationToken) => inner.StopAsync(cancellationToken);

    public void Dispose() => inner.Dispose();
}
