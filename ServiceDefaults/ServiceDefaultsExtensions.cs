using Broker.ServiceDefaults;
using Broker.ServiceDefaults.Telemetry;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Configuration.Memory;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Http.Resilience;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;

namespace Microsoft.Extensions.Hosting;

/// <summary>What every service of the system has: settings, logging, telemetry, health, service discovery.</summary>
public static class ServiceDefaultsExtensions
{
    // They stand below appsettings.json, so a setting of any kind overrides them. Requests and commands are in metrics
    // and traces; log lines for each would cost more than they do. Failures are logged by their callers.
    private static readonly Dictionary<string, string?> LogLevels = new()
    {
        ["Logging:LogLevel:Default"] = "Information",
        ["Logging:LogLevel:Microsoft.AspNetCore"] = "Warning",
        ["Logging:LogLevel:System.Net.Http.HttpClient"] = "Warning",
        ["Logging:LogLevel:Npgsql"] = "None",
    };

    /// <summary>
    /// .env files; console logging; OTLP for traces, metrics and logs where OTEL_EXPORTER_OTLP_ENDPOINT is set; the
    /// Prometheus exporter; the "self" health check; HttpClients that know services by name and try again. An HTTP
    /// address that others than this machine can reach, without AllowInsecure=true, ends the process as a malformed
    /// setting does.
    /// </summary>
    /// <param name="builder">The service's builder.</param>
    /// <param name="beginsTraces">
    /// Whether a request that brings no trace begins one, within Telemetry:TracesPerSecond.
    /// </param>
    /// <param name="readsEnvFiles">Whether the nearest .env file counts.</param>
    public static TBuilder AddServiceDefaults<TBuilder>(
        this TBuilder builder, bool beginsTraces = true, bool readsEnvFiles = true)
        where TBuilder : IHostApplicationBuilder
    {
        StartupFailure.InstallOnce();
        if (readsEnvFiles)
        {
            EnvFiles.AddTo(builder.Configuration, builder.Environment.ContentRootPath);
        }

        builder.Configuration.Sources.Insert(0, new MemoryConfigurationSource { InitialData = LogLevels });
        ListenAddresses.RefuseExposedHttp(builder.Configuration);
        AddLogging(builder);
        ServiceTelemetry.Add(builder, beginsTraces);
        builder.Services.AddHealthChecks()
            .AddCheck("self", () => HealthCheckResult.Healthy(), [DefaultEndpoints.LiveTag]);
        AddHttpClients(builder.Services);
        return builder;
    }

    /// <summary>
    /// Lets Kestrel listen at the port that the setting names ({service}:GrpcPort), for HTTP/2 without TLS, beside the
    /// addresses of ASPNETCORE_URLS. Without the setting only those are used. {service}:GrpcHost is where: localhost
    /// unless it says otherwise. A port that is malformed or taken, and an address that others than this machine can
    /// reach without AllowInsecure=true, end the process with exit code 1 and a message that names the setting.
    /// </summary>
    public static WebApplicationBuilder AddGrpcEndpoint(this WebApplicationBuilder builder, string configurationKey)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrEmpty(configurationKey);
        if (!configurationKey.EndsWith("Port", StringComparison.Ordinal))
        {
            throw new ArgumentException("It must end with Port, e.g. Broker:GrpcPort.", nameof(configurationKey));
        }

        StartupFailure.InstallOnce();
        GrpcEndpoint.Add(builder, configurationKey);
        return builder;
    }

    /// <summary>
    /// Lets Kestrel listen at one more port beside that of <see cref="AddGrpcEndpoint"/>, for HTTP/2 without TLS, by
    /// the same rules. Its default follows from the gRPC port; without that there is none.
    /// </summary>
    /// <param name="builder">The service.</param>
    /// <param name="configurationKey">The setting, Broker:PeerPort.</param>
    /// <param name="grpcKey">The setting of the gRPC port.</param>
    /// <param name="name">What the port is, for words.</param>
    /// <param name="defaultPort">From the gRPC port to the port that is taken when the setting is absent.</param>
    /// <param name="endPoint">Makes the address of a kind that a transport of the service's own listens at.</param>
    public static WebApplicationBuilder AddEndpointBeside(
        this WebApplicationBuilder builder,
        string configurationKey,
        string grpcKey,
        string name,
        Func<int, int> defaultPort,
        Func<System.Net.IPAddress, int, System.Net.IPEndPoint> endPoint)
    {
        ArgumentNullException.ThrowIfNull(builder);
        GrpcEndpoint.AddBeside(builder, configurationKey, grpcKey, name, defaultPort, endPoint);
        return builder;
    }

    /// <summary>
    /// /health: all health checks; /alive: those tagged "live"; /metrics: Prometheus' text format. In every
    /// environment.
    /// </summary>
    public static WebApplication MapDefaultEndpoints(this WebApplication app)
    {
        ArgumentNullException.ThrowIfNull(app);
        DefaultEndpoints.Map(app);
        return app;
    }

    /// <summary>gRPC channels are not made by the factory of HttpClients, so no stream is tried again.</summary>
    private static void AddHttpClients(IServiceCollection services)
    {
        services.AddServiceDiscovery();
        services.ConfigureHttpClientDefaults(http =>
        {
            // What a request without an answer has done is not known; only one that may be repeated is.
            http.AddStandardResilienceHandler(options => options.Retry.DisableForUnsafeHttpMethods());
            http.AddServiceDiscovery();
        });
    }

    private static void AddLogging(IHostApplicationBuilder builder)
    {
        builder.Logging.AddSimpleConsole(console =>
        {
            console.SingleLine = true;
            console.UseUtcTimestamp = true;
            console.TimestampFormat = "yyyy-MM-dd'T'HH:mm:ss.fff'Z' ";
            console.ColorBehavior = Console.IsOutputRedirected
                ? LoggerColorBehavior.Disabled : LoggerColorBehavior.Default;
        });
    }
}
