using Broker.ServiceDefaults.Prometheus;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using OpenTelemetry;
using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;

namespace Broker.ServiceDefaults.Telemetry;

/// <summary>
/// Owns the listeners of a process: the Prometheus exporter always, and traces and metrics over OTLP where an endpoint
/// is configured. Starts before and stops after every other service, so that it sees their first and last measurements.
/// </summary>
internal sealed partial class TelemetryService(
    IConfiguration configuration, PrometheusExporter exporter, ILogger<TelemetryService> logger)
    : IHostedLifecycleService, IDisposable
{
    public const string EndpointKey = "OTEL_EXPORTER_OTLP_ENDPOINT";

    /// <summary>A collector that is away must not hold a service's end: what it did not take by then is lost.</summary>
    private const int FlushTimeoutMs = 3_000;

    private TracerProvider? _tracer;
    private MeterProvider? _meter;

    public Task StartingAsync(CancellationToken cancellationToken)
    {
        exporter.Start();
        if (!string.IsNullOrWhiteSpace(configuration[EndpointKey]))
        {
            _tracer = BuildTracer();
            _meter = BuildMeter();
        }

        return Task.CompletedTask;
    }

    public async Task StoppedAsync(CancellationToken cancellationToken)
    {
        var flushed = await Task.WhenAll(
            Task.Run(() => _tracer?.Shutdown(FlushTimeoutMs) ?? true, CancellationToken.None),
            Task.Run(() => _meter?.Shutdown(FlushTimeoutMs) ?? true, CancellationToken.None)).ConfigureAwait(false);
        if (!Array.TrueForAll(flushed, done => done))
        {
            LogNotFlushed(logger, FlushTimeoutMs);
        }
    }

    public void Dispose()
    {
        _tracer?.Dispose();
        _meter?.Dispose();
    }

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    // Both builders take the host's configuration in place of the bare environment, so that OTEL_SERVICE_NAME,
    // OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_* may also stand in a .env file.
    private TracerProvider BuildTracer()
    {
        var builder = Sdk.CreateTracerProviderBuilder();
        builder.ConfigureServices(services => services.AddSingleton(configuration));
        return builder
            .AddSource(TelemetryNames.ActivitySources)
            .AddProcessor(new ProbeFilter())
            .AddOtlpExporter()
            .Build();
    }

    private MeterProvider BuildMeter()
    {
        var builder = Sdk.CreateMeterProviderBuilder();
        builder.ConfigureServices(services => services.AddSingleton(configuration));
        return builder
            .AddMeter(TelemetryNames.Meters)
            .AddOtlpExporter()
            .Build();
    }

    [LoggerMessage(
        11004, LogLevel.Warning, "The last traces or metrics did not reach the collector within {TimeoutMs} ms")]
    private static partial void LogNotFlushed(ILogger logger, int timeoutMs);
}
