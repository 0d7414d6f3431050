using Microsoft.Extensions.Configuration;

namespace Broker.ServiceDefaults.Discovery;

/// <summary>
/// Where the other services are, as the app model tells it: the variables
/// <c>services__broker-1__grpc__0=http://localhost:7001</c>,
/// <c>services__broker-1__grpc__1=...</c>.
/// </summary>
public static class ServiceEndpoints
{
    /// <summary>
    /// The addresses of one endpoint of one service, in their order; empty when the configuration has none.
    /// Throws <see cref="StartupException"/> when one is no absolute http or https address.
    /// </summary>
    public static IReadOnlyList<Uri> Resolve(IConfiguration configuration, string service, string endpoint)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        ArgumentException.ThrowIfNullOrEmpty(service);
        ArgumentException.ThrowIfNullOrEmpty(endpoint);
        var section = configuration.GetSection($"services:{service}:{endpoint}");
        return [.. section.GetChildren().Where(child => !string.IsNullOrWhiteSpace(child.Value)).Select(Parse)];
    }

    /// <summary>
    /// The names of the services that have an endpoint of this name, e.g. every broker with a "grpc" one.
    /// </summary>
    public static IReadOnlyList<string> ServicesWith(IConfiguration configuration, string endpoint)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        ArgumentException.ThrowIfNullOrEmpty(endpoint);
        return
        [
            .. configuration.GetSection("services").GetChildren()
                .Where(service => service.GetSection(endpoint).GetChildren().Any())
                .Select(service => service.Key),
        ];
    }

    private static Uri Parse(IConfigurationSection entry)
    {
        if (Uri.TryCreate(entry.Value, UriKind.Absolute, out var address)
            && (address.Scheme == Uri.UriSchemeHttp || address.Scheme == Uri.UriSchemeHttps))
        {
            return address;
        }

        throw new StartupException(
            $"The setting {entry.Path} is '{entry.Value}'. It must be an address such as http://localhost:7001.");
    }
}
