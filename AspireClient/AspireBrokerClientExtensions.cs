using Broker.Aspire.Client;
using Broker.Client;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;

namespace Microsoft.Extensions.Hosting;

/// <summary>Adds the client of Broker.Aspire to a program, by Aspire's conventions.</summary>
public static class AspireBrokerClientExtensions
{
    private const string Section = "Aspire:Broker:Client";

    /// <summary>The name of the client's activity source, and of its meter.</summary>
    private const string TelemetryName = "Broker.Client";

    /// <summary>
    /// Registers one client for the process, as <see cref="BrokerClient"/>, <see cref="IBrokerClient"/> and
    /// <see cref="IBrokerAdmin"/>, with a health check, traces and metrics.
    /// </summary>
    /// <param name="builder">The program.</param>
    /// <param name="connectionName">
    /// Name of the connection string; of the sections' part for this connection; and, where there is no connection
    /// string, of the brokers in service discovery before their number.
    /// </param>
    /// <param name="configureSettings">Has the last word on the settings. Null: nothing is changed.</param>
    /// <param name="configureOptions">
    /// Has the last word on the client's options: <c>options => options with { ... }</c>. Null: nothing is changed.
    /// </param>
    /// <exception cref="InvalidOperationException">
    /// A setting cannot be read; at the first use of the client: no address is configured.
    /// </exception>
    public static void AddBrokerClient(
        this IHostApplicationBuilder builder,
        string connectionName,
        Action<BrokerClientSettings>? configureSettings = null,
        Func<BrokerClientOptions, BrokerClientOptions>? configureOptions = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrEmpty(connectionName);
        Add(builder, connectionName, serviceKey: null, configureSettings, configureOptions);
    }

    /// <summary>The same for a program that uses several clusters: each client is a keyed service.</summary>
    /// <param name="builder">The program.</param>
    /// <param name="name">The service's key, and the connection's name as in AddBrokerClient.</param>
    /// <param name="configureSettings">As in AddBrokerClient.</param>
    /// <param name="configureOptions">As in AddBrokerClient.</param>
    /// <exception cref="InvalidOperationException">As AddBrokerClient.</exception>
    public static void AddKeyedBrokerClient(
        this IHostApplicationBuilder builder,
        string name,
        Action<BrokerClientSettings>? configureSettings = null,
        Func<BrokerClientOptions, BrokerClientOptions>? configureOptions = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrEmpty(name);
        Add(builder, name, serviceKey: name, configureSettings, configureOptions);
    }

    private static void Add(
        IHostApplicationBuilder builder,
        string connectionName,
        string? serviceKey,
        Action<BrokerClientSettings>? configureSettings,
        Func<BrokerClientOptions, BrokerClientOptions>? configureOptions)
    {
        var settings = ReadSettings(builder.Configuration, connectionName);
        configureSettings?.Invoke(settings);
        if (serviceKey is null)
        {
            builder.Services.AddBrokerClient(connectionName, Configure);
        }
        else
        {
            builder.Services.AddKeyedBrokerClient(serviceKey, Configure);
        }

        if (!settings.DisableHealthChecks)
        {
            AddHealthCheck(builder, serviceKey);
        }

        if (!settings.DisableTracing)
        {
            builder.Services.AddOpenTelemetry().WithTracing(traces => traces.AddSource(TelemetryName));
        }

        if (!settings.DisableMetrics)
        {
            builder.Services.AddOpenTelemetry().WithMetrics(metrics => metrics.AddMeter(TelemetryName));
        }

        BrokerClientOptions Configure(IServiceProvider provider, BrokerClientOptions options)
        {
            options = string.IsNullOrWhiteSpace(settings.ConnectionString)
                ? options
                : options.WithConnectionString(settings.ConnectionString);
            return configureOptions?.Invoke(options) ?? options;
        }
    }

    private static BrokerClientSettings ReadSettings(IConfigurationManager configuration, string connectionName)
    {
        var settings = new BrokerClientSettings();
        var section = configuration.GetSection(Section);
        section.Bind(settings);
        section.GetSection(connectionName).Bind(settings);
        if (configuration.GetConnectionString(connectionName) is { } text && !string.IsNullOrWhiteSpace(text))
        {
            settings.ConnectionString = text;
        }

        return settings;
    }

    /// <summary>One check for each client, however often it is added.</summary>
    private static void AddHealthCheck(IHostApplicationBuilder builder, string? serviceKey)
    {
        var name = serviceKey is null ? TelemetryName : $"{TelemetryName}_{serviceKey}";
        if (builder.Properties.TryAdd($"Aspire.HealthChecks.{name}", true))
        {
            builder.Services.AddHealthChecks().AddBrokerClient(name, serviceKey);
        }
    }
}
