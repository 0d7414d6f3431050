using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;

namespace Broker.Client;

/// <summary>Registers <see cref="BrokerClient"/>.</summary>
public static class BrokerClientServiceCollectionExtensions
{
    /// <summary>
    /// Registers one client for the process: as <see cref="BrokerClient"/>, <see cref="IBrokerClient"/> and
    /// <see cref="IBrokerAdmin"/>. Its options come from the configuration, see
    /// <see cref="BrokerClientOptions.FromConfiguration"/>. A second registration is passed over.
    /// </summary>
    /// <param name="services">The service collection.</param>
    /// <param name="connectionName">
    /// Name of the connection string, and of the brokers before their number. Default "broker".
    /// </param>
    /// <param name="configure">
    /// Has the last word on the options, in code: <c>(_, options) => options with { ... }</c>. Null: nothing is
    /// changed.
    /// </param>
    /// <returns>The service collection.</returns>
    /// <exception cref="InvalidOperationException">
    /// At the first use: no address is configured, or a setting cannot be read.
    /// </exception>
    public static IServiceCollection AddBrokerClient(
        this IServiceCollection services,
        string connectionName = "broker",
        Func<IServiceProvider, BrokerClientOptions, BrokerClientOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentException.ThrowIfNullOrEmpty(connectionName);
        services.TryAddSingleton(provider => Make(provider, connectionName, configure));
        services.TryAddSingleton<IBrokerClient>(static provider => provider.GetRequiredService<BrokerClient>());
        services.TryAddSingleton<IBrokerAdmin>(static provider => provider.GetRequiredService<BrokerClient>());
        return services;
    }

    /// <summary>The same for a program that uses several clusters: each client is a keyed service.</summary>
    /// <param name="services">The service collection.</param>
    /// <param name="name">The service's key, and the connection's name as in AddBrokerClient.</param>
    /// <param name="configure">As in AddBrokerClient.</param>
    /// <returns>The service collection.</returns>
    /// <exception cref="InvalidOperationException">As AddBrokerClient.</exception>
    public static IServiceCollection AddKeyedBrokerClient(
        this IServiceCollection services,
        string name,
        Func<IServiceProvider, BrokerClientOptions, BrokerClientOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentException.ThrowIfNullOrEmpty(name);
        services.TryAddKeyedSingleton(name, (provider, _) => Make(provider, name, configure));
        services.TryAddKeyedSingleton<IBrokerClient>(
            name, static (provider, key) => provider.GetRequiredKeyedService<BrokerClient>(key));
        services.TryAddKeyedSingleton<IBrokerAdmin>(
            name, static (provider, key) => provider.GetRequiredKeyedService<BrokerClient>(key));
        return services;
    }

    private static BrokerClient Make(
        IServiceProvider provider,
        string connectionName,
        Func<IServiceProvider, BrokerClientOptions, BrokerClientOptions>? configure)
    {
        var options = BrokerClientOptions.FromConfiguration(
            provider.GetRequiredService<IConfiguration>(), connectionName);
        options = configure?.Invoke(provider, options) ?? options;
        return options.Addresses.Count > 0
            ? new BrokerClient(options, provider.GetService<ILoggerFactory>(), provider.GetService<TimeProvider>())
            : throw OptionsReader.NoAddress(connectionName);
    }
}
