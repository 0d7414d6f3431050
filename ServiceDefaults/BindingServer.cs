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
internal sealed class BindingServer(IServer inner, IReadOnlyList<PortSetting> ports) : IServer
{
    public IFeatureCollection Features => inner.Features;

    /// <param name="services">Where the server is.</param>
    /// <param name="port">One more port that is bound by a setting of its own.</param>
    public static void Decorate(IServiceCollection services, PortSetting port)
    {
        var isDecorated = services.Any(static service => service.ServiceType == typeof(PortSetting));
        services.AddSingleton(port);
        if (isDecorated)
        {
            return;
        }

        var descriptor = services.LastOrDefault(service => service.ServiceType == typeof(IServer));
        if (descriptor?.ImplementationType is { } type)
        {
            services.AddSingleton<IServer>(provider => new BindingServer(
                (IServer)ActivatorUtilities.CreateInstance(provider, type),
                [.. provider.GetServices<PortSetting>()]));
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
                $"{exception.Message.TrimEnd('.')}. Another process listens there. "
                + string.Concat(ports.Select(
                    static each => $"The setting {each.Key} gives the {each.Name} ({each.Port}), "))
                + "ASPNETCORE_URLS the others: choose a free one, or stop the other process.");
        }
    }

    public Task StopAsync(CancellationToken cancellationToken) => inner.StopAsync(cancellationToken);

    public void Dispose() => inner.Dispose();
}

/// <summary>A port that a setting names.</summary>
/// <param name="Key">The setting, Broker:GrpcPort.</param>
/// <param name="Name">What the port is, "gRPC port".</param>
/// <param name="Port">Its number; 0: a free one.</param>
internal sealed record PortSetting(string Key, string Name, int Port);
