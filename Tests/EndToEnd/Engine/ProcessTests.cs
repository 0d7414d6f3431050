using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Aspire.Hosting;
using Aspire.Hosting.ApplicationModel;
using Xunit;

namespace Broker.Tests.EndToEnd.Engine;

public sealed class ProcessTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Stop_leaves_no_process()
    {
        await using var tiny = await TinyApp.StartAsync(
            app => app.AddExecutable("sleeper", "sleep", "/", "600"), Cancel);
        var process = await tiny.HealthyProcessAsync("sleeper", Cancel);
        Assert.True(TinyApp.IsAlive(process));
        await tiny.App.StopAsync(Cancel);
        Assert.False(TinyApp.IsAlive(process));
    }

    [Fact]
    public async Task Dispose_without_a_stop_leaves_no_process()
    {
        var tiny = await TinyApp.StartAsync(app => app.AddExecutable("sleeper", "sleep", "/", "600"), Cancel);
        var process = await tiny.HealthyProcessAsync("sleeper", Cancel);
        await tiny.DisposeAsync();
        Assert.False(TinyApp.IsAlive(process));
    }

    [Fact]
    public async Task Dispose_without_a_stop_waits_for_a_process_that_is_slow_to_end_and_was_never_healthy()
    {
        var tiny = await TinyApp.StartAsync(
            app => app.AddExecutable(
                    "slow", "sh", "/", "-c", "trap 'sleep 1; exit 0' TERM; echo ready; while :; do sleep 0.1; done")
                .WithHttpEndpoint(name: "http")
                .WithHttpHealthCheck("/health", endpointName: "http"),
            Cancel);
        await tiny.App.ResourceNotifications.WaitForResourceAsync("slow", KnownResourceStates.Running, Cancel);
        await LogContainsAsync(tiny, "slow", "ready");
        await tiny.DisposeAsync();
    }

    [Fact]
    public async Task A_process_that_ignores_the_stop_signal_is_killed()
    {
        await using var tiny = await TinyApp.StartAsync(
            app => app.AddExecutable(
                "deaf", "sh", "/", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"), Cancel);
        var process = await tiny.HealthyProcessAsync("deaf", Cancel);
        await LogContainsAsync(tiny, "deaf", "ready");
        await tiny.App.StopAsync(Cancel);
        Assert.False(TinyApp.IsAlive(process));
        Assert.Contains(
            "is killed", await File.ReadAllTextAsync(Path.Combine(tiny.DataRoot, "logs", "deaf.log"), Cancel));
    }

    [Fact]
    public async Task A_killed_process_is_seen_as_exited_and_can_be_started_again()
    {
        await using var tiny = await TinyApp.StartAsync(
            app => app.AddExecutable("sleeper", "sleep", "/", "600"), Cancel);
        var first = await tiny.HealthyProcessAsync("sleeper", Cancel);
        using (var process = Process.GetProcessById(first))
        {
            process.Kill();
        }

        var exited = await tiny.InStateAsync("sleeper", KnownResourceStates.Exited, Cancel);
        Assert.Equal(137, exited.ExitCode);
        var result = await tiny.App.ResourceCommands.ExecuteCommandAsync(
            "sleeper", KnownResourceCommands.StartCommand, Cancel);
        Assert.True(result.Success, result.Message);
        Assert.NotEqual(first, await tiny.HealthyProcessAsync("sleeper", Cancel));
    }

    [Fact]
    public async Task Output_is_in_the_log_and_the_last_lines_explain_a_failure()
    {
        await using var tiny = await TinyApp.StartAsync(
            app => app.AddExecutable("broken", "sh", "/", "-c", "echo first; echo the reason >&2; exit 3"), Cancel);
        var exited = await tiny.InStateAsync("broken", KnownResourceStates.Exited, Cancel);
        Assert.Equal(3, exited.ExitCode);
        Assert.Contains("the reason", TinyApp.FailureOf(exited));
        var log = await File.ReadAllTextAsync(Path.Combine(tiny.DataRoot, "logs", "broken.log"), Cancel);
        Assert.Contains("first", log);
        Assert.Contains("the reason", log);
    }

    [Fact]
    public async Task A_missing_program_is_named_in_the_failure()
    {
        await using var tiny = await TinyApp.StartAsync(
            app => app.AddExecutable("ghost", "no-such-program", "/"), Cancel);
        var failed = await tiny.InStateAsync("ghost", KnownResourceStates.FailedToStart, Cancel);
        Assert.Contains("no-such-program", TinyApp.FailureOf(failed));
    }

    [Fact]
    public async Task A_busy_port_is_named_in_the_failure()
    {
        using var busy = new TcpListener(IPAddress.Loopback, 0);
        busy.Start();
        var port = ((IPEndPoint)busy.LocalEndpoint).Port;
        await using var tiny = await TinyApp.StartAsync(
            app => app.AddExecutable("server", "sleep", "/", "600").WithHttpEndpoint(port: port, name: "http"), Cancel);
        var failed = await tiny.InStateAsync("server", KnownResourceStates.FailedToStart, Cancel);
        Assert.Contains($"Port {port}", TinyApp.FailureOf(failed));
    }

    [Fact]
    public async Task A_second_run_on_the_same_data_is_refused()
    {
        await using var first = await TinyApp.StartAsync(
            app => app.AddExecutable("sleeper", "sleep", "/", "600"), Cancel);
        await using var second = TinyApp.Build(
            app => app.AddExecutable("sleeper", "sleep", "/", "600"), first.DataRoot);
        var refusal = await Assert.ThrowsAsync<DistributedApplicationException>(() => second.App.StartAsync(Cancel));
        Assert.Contains(first.DataRoot, refusal.Message);
        Assert.Contains($"{Environment.ProcessId}", refusal.Message);
    }

    [Fact]
    public async Task Every_process_is_in_a_session_of_its_own_so_that_Ctrl_C_does_not_reach_it()
    {
        await using var tiny = await TinyApp.StartAsync(
            app => app.AddExecutable("sleeper", "sleep", "/", "600"), Cancel);
        var process = await tiny.HealthyProcessAsync("sleeper", Cancel);
        await LogContainsNoSetupAsync(process);

        // "123 (sleep) S parent group session …"
        var stat = await File.ReadAllTextAsync($"/proc/{process}/stat", Cancel);
        var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        Assert.Equal($"{process}", fields[2]);
        Assert.Equal($"{process}", fields[3]);
    }

    // setsid and setpriv replace themselves by the program within milliseconds.
    private static async Task LogContainsNoSetupAsync(int process)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(10));
        while ((await File.ReadAllTextAsync($"/proc/{process}/comm", Cancel)).Trim() != "sleep")
        {
            await timer.WaitForNextTickAsync(Cancel);
        }
    }

    private static async Task LogContainsAsync(TinyApp tiny, string name, string text)
    {
        var log = Path.Combine(tiny.DataRoot, "logs", $"{name}.log");
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        while (!(await File.ReadAllTextAsync(log, Cancel)).Contains(text, StringComparison.Ordinal))
        {
            await timer.WaitForNextTickAsync(Cancel);
        }
    }
}
