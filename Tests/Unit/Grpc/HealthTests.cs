using Grpc.AspNetCore.HealthChecks;
using Grpc.Core;
using Grpc.Health.V1;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Xunit;
using static Grpc.Health.V1.HealthCheckResponse.Types;

namespace Broker.Tests.Unit.GrpcCalls;

public sealed class HealthTests
{
    private HealthCheckResult _database = HealthCheckResult.Healthy();

    [Fact]
    public async Task The_health_of_the_server_is_that_of_all_its_checks()
    {
        await using var server = await StartAsync();
        var health = new Health.HealthClient(server.Channel);

        Assert.Equal(ServingStatus.Serving, await CheckAsync(health, ""));
        _database = HealthCheckResult.Degraded();
        Assert.Equal(ServingStatus.Serving, await CheckAsync(health, ""));
        _database = HealthCheckResult.Unhealthy();
        Assert.Equal(ServingStatus.NotServing, await CheckAsync(health, ""));
    }

    [Fact]
    public async Task A_service_has_the_health_of_the_checks_mapped_to_it()
    {
        await using var server = await StartAsync(options =>
        {
            options.Services.Map("database", check => check.Name == "database");
            options.Services.Map("alive", check => check.Tags.Contains("live"));
            options.Services.Map("nothing", _ => false);
        });
        var health = new Health.HealthClient(server.Channel);
        _database = HealthCheckResult.Unhealthy();

        Assert.Equal(ServingStatus.NotServing, await CheckAsync(health, "database"));
        Assert.Equal(ServingStatus.Serving, await CheckAsync(health, "alive"));
        Assert.Equal(ServingStatus.Unknown, await CheckAsync(health, "nothing"));
    }

    [Fact]
    public async Task A_service_that_nobody_knows_is_NOT_FOUND()
    {
        await using var server = await StartAsync();

        var failure = await EchoServer.FailureAsync(CheckAsync(new Health.HealthClient(server.Channel), "what"));

        Assert.Equal(StatusCode.NotFound, failure.StatusCode);
    }

    [Fact]
    public async Task A_watcher_hears_the_status_at_once_and_each_change()
    {
        await using var server = await StartAsync();
        using var watch = new Health.HealthClient(server.Channel).Watch(new HealthCheckRequest());

        Assert.Equal(ServingStatus.Serving, await NextAsync(watch));
        _database = HealthCheckResult.Unhealthy();
        Assert.Equal(ServingStatus.NotServing, await NextAsync(watch));
        _database = HealthCheckResult.Healthy();
        Assert.Equal(ServingStatus.Serving, await NextAsync(watch));
    }

    [Fact]
    public async Task A_watcher_of_an_unknown_service_waits_for_it()
    {
        await using var server = await StartAsync();
        using var watch = new Health.HealthClient(server.Channel).Watch(new HealthCheckRequest { Service = "what" });

        Assert.Equal(ServingStatus.ServiceUnknown, await NextAsync(watch));
        var next = watch.ResponseStream.MoveNext();
        await CheckAsync(new Health.HealthClient(server.Channel), "");
        Assert.False(next.IsCompleted);
    }

    [Fact]
    public async Task A_server_that_stops_says_so_to_its_watchers_and_waits_for_none()
    {
        await using var server = await StartAsync();
        using var watch = new Health.HealthClient(server.Channel).Watch(new HealthCheckRequest());
        Assert.Equal(ServingStatus.Serving, await NextAsync(watch));

        var stop = server.StopAsync(default);

        Assert.Equal(ServingStatus.NotServing, await NextAsync(watch));
        Assert.False(await watch.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
        await stop.WaitAsync(EchoServer.Patience);
    }

    [Fact]
    public async Task The_cached_report_is_asked_when_told_so()
    {
        var runs = 0;
        await using var server = await StartAsync(options => options.UseHealthChecksCache = true, () => runs++);
        var health = new Health.HealthClient(server.Channel);
        await EchoServer.UntilAsync(() => runs > 0, "a report");
        await CheckAsync(health, "");
        _database = HealthCheckResult.Unhealthy();

        // The checks run by themselves once a second; a hundred calls would be seen.
        var before = runs;
        await Task.WhenAll(Enumerable.Range(0, 100).Select(_ => CheckAsync(health, "")));

        Assert.InRange(runs - before, 0, 50);
        await EchoServer.UntilAsync(() => runs > before + 1, "another report");
        Assert.Equal(ServingStatus.NotServing, await CheckAsync(health, ""));
    }

    [Fact]
    public async Task Mapping_without_registering_says_what_is_missing()
    {
        var failure = await Assert.ThrowsAsync<InvalidOperationException>(
            () => EchoServer.StartAsync(map: app => app.MapGrpcHealthChecksService()));

        Assert.Contains("AddGrpcHealthChecks", failure.Message, StringComparison.Ordinal);
    }

    private static async Task<ServingStatus> CheckAsync(Health.HealthClient health, string service) =>
        (await health.CheckAsync(new HealthCheckRequest { Service = service }).ResponseAsync
            .WaitAsync(EchoServer.Patience)).Status;

    private static async Task<ServingStatus> NextAsync(AsyncServerStreamingCall<HealthCheckResponse> watch)
    {
        Assert.True(await watch.ResponseStream.MoveNext().WaitAsync(EchoServer.Patience));
        return watch.ResponseStream.Current.Status;
    }

    private Task<EchoServer> StartAsync(Action<GrpcHealthChecksOptions>? configure = null, Action? onCheck = null) =>
        EchoServer.StartAsync(
            map: app => app.MapGrpcHealthChecksService(),
            register: services =>
            {
                services.AddGrpcHealthChecks(options => configure?.Invoke(options))
                    .AddCheck("self", () => HealthCheckResult.Healthy(), ["live"])
                    .AddCheck("database", () =>
                    {
                        onCheck?.Invoke();
                        return _database;
                    });
                services.Configure<HealthCheckPublisherOptions>(options =>
                {
                    options.Delay = TimeSpan.Zero;
                    options.Period = TimeSpan.FromSeconds(1);
                });
            });
}
