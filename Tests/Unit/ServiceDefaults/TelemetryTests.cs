using System.Collections.Concurrent;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;
using Xunit;

namespace Broker.Tests.Unit.ServiceDefaults;

/// <summary>Spans are the process's, not the host's: other tests' requests would be among them.</summary>
[CollectionDefinition(nameof(TelemetryAlone), DisableParallelization = true)]
public sealed class TelemetryAlone;

[Collection(nameof(TelemetryAlone))]
public sealed partial class TelemetryTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Traces_metrics_and_logs_reach_the_collector_before_the_service_ends_and_probes_do_not()
    {
        var received = new ConcurrentDictionary<string, string>();
        await using var collector = Collector(received);
        await collector.StartAsync(Cancellation);
        await using (var service = Service(Address(collector)))
        {
            await service.StartAsync(Cancellation);
            // Without a span of its own: the client runs in the process that is looked at.
            using var quiet = new SocketsHttpHandler { ActivityHeadersPropagator = null };
            using var client = new HttpClient(quiet) { BaseAddress = new Uri(Address(service)) };
            await client.GetStringAsync("/health", Cancellation);
            await client.GetStringAsync("/metrics", Cancellation);
            await client.GetStringAsync("/hello", Cancellation);
            LogGreeting(service.Logger);
            await service.StopAsync(Cancellation);
        }

        Assert.Contains("/hello", received["/v1/traces"], StringComparison.Ordinal);
        Assert.Contains("broker-test", received["/v1/traces"], StringComparison.Ordinal);
        Assert.DoesNotContain("/health", received["/v1/traces"], StringComparison.Ordinal);
        Assert.DoesNotContain("/metrics", received["/v1/traces"], StringComparison.Ordinal);
        Assert.Contains("http.server.request.duration", received["/v1/metrics"], StringComparison.Ordinal);
        Assert.Contains("Good morning", received["/v1/logs"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_collector_that_is_away_does_not_hold_the_end()
    {
        await using var service = Service("http://127.0.0.1:9");
        await service.StartAsync(Cancellation);
        using var client = new HttpClient { BaseAddress = new Uri(Address(service)) };
        await client.GetStringAsync("/hello", Cancellation);

        await service.StopAsync(Cancellation).WaitAsync(TimeSpan.FromSeconds(15), Cancellation);
    }

    private static WebApplication Collector(ConcurrentDictionary<string, string> received)
    {
        var builder = WebApplication.CreateBuilder();
        builder.Logging.ClearProviders();
        builder.Configuration["urls"] = "http://127.0.0.1:0";
        var app = builder.Build();
        app.MapPost("/v1/{signal}", async (HttpContext context) =>
        {
            using var body = new MemoryStream();
            await context.Request.Body.CopyToAsync(body, context.RequestAborted);
            received.AddOrUpdate(
                context.Request.Path.Value!,
                _ => Encoding.Latin1.GetString(body.ToArray()),
                (_, before) => before + Encoding.Latin1.GetString(body.ToArray()));
        });
        return app;
    }

    private static WebApplication Service(string collector)
    {
        var builder = WebApplication.CreateBuilder();
        builder.Configuration["urls"] = "http://127.0.0.1:0";
        builder.Configuration["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector;
        builder.Configuration["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf";
        builder.Configuration["OTEL_SERVICE_NAME"] = "broker-test";
        builder.AddServiceDefaults();
        builder.Logging.AddFilter<ConsoleLoggerProvider>(null, LogLevel.None);
        var app = builder.Build();
        app.MapDefaultEndpoints();
        app.MapGet("/hello", () => "hello");
        return app;
    }

    private static string Address(WebApplication app) =>
        app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single();

    [LoggerMessage(1, LogLevel.Information, "Good morning")]
    private static partial void LogGreeting(ILogger logger);
}
