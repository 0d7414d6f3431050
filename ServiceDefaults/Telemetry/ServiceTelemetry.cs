using System.Diagnostics.Metrics;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Configuration.Memory;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using OpenTelemetry;
using OpenTelemetry.Logs;
using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;

namespace Broker.ServiceDefaults.Telemetry;

/// <summary>
/// Metrics for Prometheus always; traces, metrics and logs over OTLP where OTEL_EXPORTER_OTLP_ENDPOINT is set. Without
/// a collector nothing listens to activities, so that tracing costs nothing.
/// </summary>
internal static class ServiceTelemetry
{
    /// <summary>The meters and the activity sources of all services and of the client library.</summary>
    private const string OwnNames = "Broker.*";

    private const string CollectorSetting = "OTEL_EXPORTER_OTLP_ENDPOINT";
    private const string TracesPerSecondSetting = "Telemetry:TracesPerSecond";

    /// <summary>
    /// Far above what a person looks at, far below what would be felt: a trace of a publish has about twenty spans.
    /// </summary>
    private const int TracesPerSecond = 100;

    private const string CountSuffix = ".count";

    private static readonly PathString[] Probes =
        [DefaultEndpoints.HealthPath, DefaultEndpoints.AlivePath, DefaultEndpoints.MetricsPath];

    public static void Add(IHostApplicationBuilder builder, bool beginsTraces)
    {
        var isCollected = !string.IsNullOrWhiteSpace(builder.Configuration[CollectorSetting]);
        AddDefaults(builder.Configuration, isCollected);
        var telemetry = builder.Services.AddOpenTelemetry().WithMetrics(metrics => metrics
            .AddAspNetCoreInstrumentation()
            .AddHttpClientInstrumentation()
            .AddRuntimeInstrumentation()
            .AddProcessInstrumentation()
            .AddMeter(OwnNames)
            // Probes would be counted in it, and requests are counted by their duration.
            .AddView("aspnetcore.routing.match_attempts", MetricStreamConfiguration.Drop)
            .AddView(NameForPrometheus)
            .AddPrometheusExporter());
        if (isCollected)
        {
            var sampler = new RequestSampler(
                beginsTraces ? ReadTracesPerSecond(builder.Configuration) : 0, TimeProvider.System);
            telemetry.UseOtlpExporter().WithTracing(traces => traces
                .SetSampler(new ParentBasedSampler(sampler))
                .AddSource(OwnNames)
                .AddAspNetCoreInstrumentation(requests => requests.Filter = IsNoProbe)
                .AddHttpClientInstrumentation()
                .AddGrpcClientInstrumentation(calls => calls.SuppressDownstreamInstrumentation = true));
            builder.Services.Configure<OpenTelemetryLoggerOptions>(logging =>
            {
                logging.IncludeFormattedMessage = true;
                logging.IncludeScopes = true;
            });
        }
    }

    /// <summary>They stand below every other setting.</summary>
    private static void AddDefaults(IConfigurationManager configuration, bool isCollected)
    {
        var defaults = new Dictionary<string, string?>
        {
            // A collector that is away is waited for by each of the three signals when the service ends.
            ["OTEL_EXPORTER_OTLP_TIMEOUT"] = "2000",
        };
        if (!isCollected)
        {
            // They would listen to activities that nobody reads.
            defaults["Aspire:Broker:Client:DisableTracing"] = "true";
            defaults["Aspire:Npgsql:DisableTracing"] = "true";
            defaults["Aspire:StackExchange:Redis:DisableTracing"] = "true";
        }

        configuration.Sources.Insert(0, new MemoryConfigurationSource { InitialData = defaults });
    }

    /// <summary>
    /// To Prometheus a name that ends in "count" is part of a histogram, and promtool refuses any other.
    /// </summary>
    private static MetricStreamConfiguration? NameForPrometheus(Instrument instrument) =>
        instrument.Name.EndsWith(CountSuffix, StringComparison.Ordinal)
            ? new MetricStreamConfiguration { Name = instrument.Name[..^CountSuffix.Length] + ".number" }
            : null;

    private static int ReadTracesPerSecond(IConfigurationManager configuration)
    {
        var text = configuration[TracesPerSecondSetting];
        if (string.IsNullOrWhiteSpace(text))
        {
            return TracesPerSecond;
        }

        return int.TryParse(text, out var number) && number >= 0
            ? number
            : throw new StartupException(
                $"The setting {TracesPerSecondSetting} is '{text}'. It must be a whole number from 0, the traces that "
                + $"may begin in a second (default {TracesPerSecond}).");
    }

    /// <summary>Probes come every few seconds and say nothing.</summary>
    private static bool IsNoProbe(HttpContext context) =>
        !Array.Exists(Probes, probe => context.Request.Path.StartsWithSegments(probe));
}
