using Aspire.Hosting;
using Aspire.Hosting.ApplicationModel;
using Aspire.Hosting.Testing;
using Xunit;

namespace Broker.Tests.EndToEnd.Engine;

public sealed class DependencyTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_resource_waits_until_its_dependency_has_completed()
    {
        await using var tiny = await TinyApp.StartAsync(
            app =>
            {
                var setup = app.AddExecutable("setup", "sleep", "/", "0.2");
                app.AddExecutable("main", "sleep", "/", "600").WaitForCompletion(setup);
            },
            Cancel);
        await tiny.HealthyProcessAsync("main", Cancel);
        var setup = await tiny.InStateAsync("setup", KnownResourceStates.Finished, Cancel);
        var main = await tiny.InStateAsync("main", KnownResourceStates.Running, Cancel);
        Assert.True(main.StartTimeStamp >= setup.StopTimeStamp);
    }

    [Fact]
    public async Task A_dependency_that_fails_fails_those_that_wait_for_it()
    {
        await using var tiny = await TinyApp.StartAsync(
            app =>
            {
                var ghost = app.AddExecutable("ghost", "no-such-program", "/");
                app.AddExecutable("main", "sleep", "/", "600").WaitFor(ghost);
            },
            Cancel);
        var main = await tiny.InStateAsync("main", KnownResourceStates.FailedToStart, Cancel);
        Assert.Contains("ghost", TinyApp.FailureOf(main));
    }

    [Fact]
    public async Task Resources_stop_before_what_they_need()
    {
        await using var tiny = await TinyApp.StartAsync(
            app =>
            {
                var lower = app.AddExecutable("lower", "sleep", "/", "600");
                var middle = app.AddExecutable("middle", "sleep", "/", "600").WaitFor(lower);
                app.AddExecutable("upper", "sleep", "/", "600").WaitFor(middle);
            },
            Cancel);
        await tiny.HealthyProcessAsync("upper", Cancel);
        await tiny.App.StopAsync(Cancel);
        var lower = await tiny.InStateAsync("lower", KnownResourceStates.Exited, Cancel);
        var middle = await tiny.InStateAsync("middle", KnownResourceStates.Exited, Cancel);
        var upper = await tiny.InStateAsync("upper", KnownResourceStates.Exited, Cancel);
        Assert.True(upper.StopTimeStamp < middle.StopTimeStamp);
        Assert.True(middle.StopTimeStamp < lower.StopTimeStamp);
    }

    [Fact]
    public async Task A_resource_with_explicit_start_waits_for_the_command()
    {
        await using var tiny = await TinyApp.StartAsync(
            app => app.AddExecutable("sleeper", "sleep", "/", "600").WithExplicitStart(), Cancel);
        await tiny.InStateAsync("sleeper", KnownResourceStates.NotStarted, Cancel);
        await tiny.App.ResourceCommands.ExecuteCommandAsync("sleeper", KnownResourceCommands.StartCommand, Cancel);
        await tiny.InStateAsync("sleeper", KnownResourceStates.Running, Cancel);
    }

    [Fact]
    public async Task A_resource_is_told_the_addresses_of_another_one()
    {
        await using var tiny = await TinyApp.StartAsync(
            app =>
            {
                var server = app.AddExecutable("server-1", "sleep", "/", "600")
                    .WithHttpEndpoint(name: "http").WithHttpEndpoint(name: "grpc", env: "GRPC_PORT");
                app.AddExecutable("printer", "env", "/").WithReference(server.GetEndpoint("grpc"));
                app.AddExecutable("self", "sh", "/", "-c", "echo $GRPC_PORT")
                    .WithHttpEndpoint(name: "grpc", env: "GRPC_PORT");
            },
            Cancel);
        await tiny.InStateAsync("printer", KnownResourceStates.Finished, Cancel);
        await tiny.InStateAsync("self", KnownResourceStates.Finished, Cancel);
        var url = tiny.App.GetEndpoint("server-1", "grpc").AbsoluteUri.TrimEnd('/');
        var printed = await File.ReadAllLinesAsync(Path.Combine(tiny.DataRoot, "logs", "printer.log"), Cancel);
        Assert.Contains($"services__server-1__grpc__0={url}", printed);
        Assert.Contains($"SERVER_1_GRPC={url}", printed);
        var self = await File.ReadAllTextAsync(Path.Combine(tiny.DataRoot, "logs", "self.log"), Cancel);
        Assert.Equal($"{tiny.App.GetEndpoint("self", "grpc").Port}", self.Trim());
    }
}
