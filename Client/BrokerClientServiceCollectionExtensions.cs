using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;

namespace Broker.Client;

/// <summary>Registers <see cref="BrokerClient"/>.</summary>
public static class BrokerClientServiceCollectionExtensions
{
    private const string OptionsSection = "Aspire:Broker:Client";

    /// <summary>
    /// Registers one <see cref="BrokerClient"/> for the process. Its options come from section Aspire:Broker:Client.
    /// Its addresses come from there too, or else from ConnectionStrings:{connectionName}, e.g.
    /// "http://a:7001;http://b:7001", or else from service discovery: services:{connectionName}:grpc:0 and
    /// services:{connectionName}-1:grpc:0, -2 and so on, as Aspire sets them.
    /// </summary>
    /// <param name="services">The service collection.</param>
    /// <param name="connectionName">
    /// Name of the connection string, and of the brokers before their number. Default "broker".
    /// </param>
    /// <returns>The service collection.</returns>
    /// <exception cref="InvalidOperationException">At the first use: no address is configured.</exception>
    public static IServiceCollection AddBrokerClient(this IServiceCollection services, string connectionName = "broker")
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentException.ThrowIfNullOrEmpty(connectionName);
        services.TryAddSingleton(provider => new BrokerClient(
            ReadOptions(provider.GetRequiredService<IConfiguration>(), connectionName),
            provider.GetService<ILoggerFactory>(),
            provider.GetService<TimeProvider>()));
        return services;
    }

    internal static BrokerClientOptions ReadOptions(IConfiguration configuration, string connectionName)
    {
        var options = configuration.GetSection(OptionsSection).Get<BrokerClientOptions>() ?? new BrokerClientOptions();
        if (options.Addresses.Count > 0)
        {
            return options;
        }

        var connectionString = configuration.GetConnectionString(connectionName);
        Uri[] addresses = string.IsNullOrWhiteSpace(connectionString)
            ? [.. Discovered(configuration, connectionName)]
            : [.. Split(connectionString).Select(text => ToUri(text, connectionName))];
        return addresses.Length > 0
            ? options with { Addresses = addresses }
            : throw new InvalidOperationException(
                "No broker address is configured. "
                + $"Set ConnectionStrings:{connectionName} (e.g. \"http://localhost:7001\"), "
                + $"{OptionsSection}:Addresses, or services:{connectionName}-1:grpc:0 as service discovery does.");
    }

    private static IEnumerable<Uri> Discovered(IConfiguration configuration, string name) =>
        DiscoveredService.ReadAll(configuration)
            .Where(service => service.Name.Equals(name, StringComparison.OrdinalIgnoreCase)
                || (service.Family.Equals(name + "-", StringComparison.OrdinalIgnoreCase) && service.Number > 0))
            .SelectMany(service => service.Addresses);

    private static string[] Split(string list) =>
        list.Split([';', ','], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    private static Uri ToUri(string text, string connectionName) =>
        Uri.TryCreate(text, UriKind.Absolute, out var address)
            ? address
            : throw new InvalidOperationException(
                $"'{text}' of connection '{connectionName}' is no address; expected e.g. \"http://localhost:7001\".");
}
