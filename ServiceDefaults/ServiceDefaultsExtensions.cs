using Broker.ServiceDefaults;
using Broker.ServiceDefaults.Discovery;
using Broker.ServiceDefaults.Telemetry;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Configuration.Memory;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;
using OpenTelemetry.Logs;
using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;

namespace Microsoft.Extensions.Hosting;

/// <summary>What every service of the system has: settings, logging, telemetry, health, service discovery.</summary>
public static class ServiceDefaultsExtensions
{
    // They stand below appsettings.json, so a setting of any kind overrides them. Requests are in metrics and traces;
    // two log lines for each would cost more than the request.
    private static readonly Dictionary<string, string?> LogLevels = new()
    {
        ["Logging:LogLevel:Default"] = "Information",
        ["Logging:LogLevel:Microsoft.AspNetCore"] = "Warning",
        ["Logging:LogLevel:System.Net.Http.HttpClient"] = "Warning",
    };

    /// <summary>
    /// .env files; console logging; OTLP for traces, metrics and logs where OTEL_EXPORTER_OTLP_ENDPOINT is set; the
    /// Prometheus exporter; the "self" health check; HttpClients that know services by name.
    /// </summary>
    public static TBuilder AddServiceDefaults<TBuilder>(this TBuilder builder)
        where TBuilder : IHostApplicationBuilder
    {
        StartupFailure.InstallOnce();
        EnvFiles.AddTo(builder.Configuration, builder.Environment.ContentRootPath);
        builder.Configuration.Sources.Insert(0, new MemoryConfigurationSource { InitialData = LogLevels });
        AddLogging(builder);
        AddTelemetry(builder);
        builder.Services.AddHealthChecks()
            .AddCheck("self", () => HealthCheckResult.Healthy(), [DefaultEndpoints.LiveTag]);
        builder.Services.AddTransient<ServiceDiscoveryHandler>();
        builder.Services.ConfigureHttpClientDefaults(http => http.AddHttpMessageHandler<ServiceDiscoveryHandler>());
        return builder;
    }

    /// <summary>
    /// Lets Kestrel listen on localhost at the port that the setting names, for HTTP/2 without TLS, beside the
    /// addresses of ASPNETCORE_URLS. Without the setting only those are used. A port that is malformed or taken ends
    /// the process with exit code 1 and a message that names the setting.
    /// </summary>
    public static WebApplicationBuilder AddGrpcEndpoint(this WebApplicationBuilder builder, string configurationKey)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrEmpty(configurationKey);
        StartupFailure.InstallOnce();
        GrpcEndpoint.Add(builder, configurationKey);
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

    private static void AddTelemetry(IHostApplicationBuilder builder)
    {
        // ASP.NET Core 10 leaves OpenTelemetry's tags off its spans unless asked; the probe filter and the traces need
        // them.
        AppContext.SetSwitch("Microsoft.AspNetCore.Hosting.SuppressActivityOpenTelemetryData", false);
        var telemetry = builder.Services.AddOpenTelemetry()
            .WithMetrics(metrics => metrics.AddMeter(TelemetryNames.Meters).AddPrometheusExporter())
            .WithTracing(traces => traces
                .AddSource(TelemetryNames.ActivitySources)
                .AddProcessor(new ProbeFilter()));
        if (!string.IsNullOrWhiteSpace(builder.Configuration["OTEL_EXPORTER_OTLP_ENDPOINT"]))
        {
            telemetry.WithMetrics(metrics => metrics.AddOtlpExporter()).WithTracing(traces => traces.AddOtlpExporter());
            builder.Logging.AddOpenTelemetry(logging =>
            {
                logging.IncludeFormattedMessage = true;
                logging.IncludeScopes = true;
                logging.AddOtlpExporter();
            });
        }
    }
}
