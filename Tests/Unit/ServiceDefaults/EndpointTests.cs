using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Broker.ServiceDefaults;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Broker.Tests.Unit.ServiceDefaults;

public sealed class EndpointTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Health_and_alive_answer_in_Production()
    {
        await using var app = Build();
        await app.StartAsync(Cancellation);
        using var client = Client(app, 0);

        Assert.Equal("Healthy", await client.GetStringAsync("/health", Cancellation));
        Assert.Equal("Healthy", await client.GetStringAsync("/alive", Cancellation));
    }

    [Fact]
    public async Task A_service_that_cannot_serve_is_alive_but_not_healthy()
    {
        await using var app = Build(builder => builder.Services.AddHealthChecks()
            .AddCheck("quorum", () => HealthCheckResult.Unhealthy()));
        await app.StartAsync(Cancellation);
        using var client = Client(app, 0);

        using var health = await client.GetAsync(new Uri("/health", UriKind.Relative), Cancellation);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, health.StatusCode);
        Assert.Equal("Unhealthy", await health.Content.ReadAsStringAsync(Cancellation));
        Assert.Equal("Healthy", await client.GetStringAsync("/alive", Cancellation));
    }

    [Fact]
    public async Task Metrics_of_a_running_service_pass_promtool()
    {
        await using var app = Build();
        app.MapGet("/hello", () => "hello");
        await app.StartAsync(Cancellation);
        using var client = Client(app, 0);
        await client.GetStringAsync("/hello", Cancellation);
        await client.GetStringAsync("/health", Cancellation);

        using var response = await client.GetAsync(new Uri("/metrics", UriKind.Relative), Cancellation);
        Assert.Equal("text/plain; version=0.0.4; charset=utf-8", response.Content.Headers.ContentType!.ToString());
        var text = await response.Content.ReadAsStringAsync(Cancellation);
        Assert.Contains("http_server_request_duration_seconds_count{", text, StringComparison.Ordinal);
        Assert.Contains("http_route=\"/hello\"", text, StringComparison.Ordinal);
        Assert.Contains("dotnet_gc_collections_total{", text, StringComparison.Ordinal);
        Assert.DoesNotContain("http_route=\"/health\"", text, StringComparison.Ordinal);
        if (File.Exists("/usr/bin/promtool"))
        {
            var (exitCode, output) = CheckMetrics("/usr/bin/promtool", text);
            Assert.True(exitCode == 0, output);
        }
    }

    [Fact]
    public async Task The_grpc_port_speaks_HTTP_2_and_the_other_one_HTTP_1()
    {
        await using var app = Build(builder =>
        {
            builder.Configuration["Broker:GrpcPort"] = "0";
            builder.AddGrpcEndpoint("Broker:GrpcPort");
        });
        app.MapGet("/protocol", (HttpContext context) => context.Request.Protocol);
        await app.StartAsync(Cancellation);
        Assert.Equal(2, Addresses(app).Count);
        using var http = Client(app, 0);
        using var grpc = Client(app, 1);
        grpc.DefaultRequestVersion = HttpVersion.Version20;
        grpc.DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact;

        Assert.Equal("HTTP/1.1", await http.GetStringAsync("/protocol", Cancellation));
        Assert.Equal("HTTP/2", await grpc.GetStringAsync("/protocol", Cancellation));
    }

    [Fact]
    public async Task Without_the_setting_there_is_no_grpc_port()
    {
        await using var app = Build(builder => builder.AddGrpcEndpoint("Broker:GrpcPort"));
        await app.StartAsync(Cancellation);

        Assert.Single(Addresses(app));
    }

    [Fact]
    public async Task A_port_in_use_is_told_with_the_setting_that_gives_it()
    {
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var port = ((IPEndPoint)taken.LocalEndpoint).Port;
        await using var app = Build(builder =>
        {
            builder.Configuration["Broker:GrpcPort"] = $"{port}";
            builder.AddGrpcEndpoint("Broker:GrpcPort");
        });

        var failure = await Assert.ThrowsAsync<StartupException>(() => app.StartAsync(Cancellation));
        Assert.Contains("Broker:GrpcPort", failure.Message, StringComparison.Ordinal);
        Assert.Contains($"{port}", failure.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("seven")]
    [InlineData("-1")]
    [InlineData("65536")]
    public void A_malformed_port_is_told_with_the_setting_that_gives_it(string port)
    {
        var failure = Assert.Throws<StartupException>(() => Build(builder =>
        {
            builder.Configuration["Broker:GrpcPort"] = port;
            builder.AddGrpcEndpoint("Broker:GrpcPort");
        }));

        Assert.Contains("Broker:GrpcPort", failure.Message, StringComparison.Ordinal);
        Assert.Contains($"'{port}'", failure.Message, StringComparison.Ordinal);
    }

    private static (int ExitCode, string Output) CheckMetrics(string promtool, string text)
    {
        var start = new ProcessStartInfo(promtool, ["check", "metrics"])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using var process = Process.Start(start)!;
        process.StandardInput.Write(text);
        process.StandardInput.Close();
        var output = process.StandardOutput.ReadToEnd() + process.StandardError.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output);
    }

    private static WebApplication Build(Action<WebApplicationBuilder>? configure = null)
    {
        var builder = WebApplication.CreateBuilder(
            new WebApplicationOptions { EnvironmentName = Environments.Production });
        builder.Configuration["urls"] = "http://127.0.0.1:0";
        builder.AddServiceDefaults();
        builder.Logging.ClearProviders();
        configure?.Invoke(builder);
        var app = builder.Build();
        app.MapDefaultEndpoints();
        return app;
    }

    private static List<string> Addresses(WebApplication app) =>
        [.. app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses];

    private static HttpClient Client(WebApplication app, int address) =>
        new() { BaseAddress = new Uri(Addresses(app)[address]) };
}
