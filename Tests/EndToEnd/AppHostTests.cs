using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Xunit;

namespace Broker.Tests.EndToEnd;

/// <summary>What a user sees who starts AppHost from a shell.</summary>
public sealed class AppHostTests : IDisposable
{
    /// <summary>What is left running after AppHost's end must be gone by then.</summary>
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(30);

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("broker-apphost-");

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private string DataRoot => $"--DataRoot={Path.Combine(_folder.FullName, "data")}";

    public void Dispose() => _folder.Delete(recursive: true);

    [Theory]
    [InlineData("--nonsense", "There is no setting '--nonsense'.")]
    [InlineData("--DataRot=x", "There is no setting '--DataRot=x'.")]
    [InlineData("/folder", "There is no argument '/folder'.")]
    [InlineData("folder", "There is no argument 'folder'.")]
    [InlineData("-x=1", "There is no argument '-x=1'.")]
    [InlineData("--DataRoot", "The setting '--DataRoot' has no value.")]
    [InlineData("--Servers=cloud", "Servers is 'cloud'; it must be auto, containers or programs.")]
    [InlineData("--Subscriber:Subjects=a..b", "Subscriber:Subjects is 'a..b'. The topic filter 'a..b' has an empty")]
    public async Task A_wrong_command_line_is_a_sentence(string argument, string sentence) =>
        await IsRefusedAsync(2, sentence, new(), argument);

    /// <summary>The file is found from where the user stands, and nowhere else.</summary>
    [Fact]
    public async Task A_data_folder_that_is_a_file_is_a_sentence()
    {
        var file = Path.Combine(_folder.FullName, "file");
        await File.WriteAllTextAsync(file, "", Cancel);
        await IsRefusedAsync(2, $"DataRoot is {file}, which is a file", new(), "--DataRoot=file");
        await IsRefusedAsync(1, $"The data folder {file}/x cannot be used", new(), "--DataRoot=file/x");
    }

    [Fact]
    public async Task A_data_folder_that_another_run_uses_is_a_sentence_with_its_process()
    {
        var data = _folder.CreateSubdirectory("data").FullName;
        using var held = new FileStream(
            Path.Combine(data, "apphost.lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        var holder = Environment.ProcessId.ToString(CultureInfo.InvariantCulture);
        await File.WriteAllTextAsync(Path.Combine(data, "apphost.pid"), holder, Cancel);
        await IsRefusedAsync(1, $"Another run (process {holder}) uses the data in {data}.", new(), DataRoot);
    }

    [Fact]
    public async Task A_dashboard_port_that_is_taken_is_a_sentence()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var port = ((IPEndPoint)listener.LocalEndpoint).Port;
        await IsRefusedAsync(
            1,
            $"The dashboard's port {port} is taken",
            new() { ["ASPNETCORE_URLS"] = $"http://localhost:{port}" },
            DataRoot);
    }

    [Fact]
    public async Task Containers_that_are_asked_for_and_cannot_be_had_are_a_sentence() => await IsRefusedAsync(
        1,
        "Servers is 'containers', but no container runtime can be used (docker: ",

        // Nothing listens there.
        new() { ["ASPIRE_CONTAINER_RUNTIME"] = "docker", ["DOCKER_HOST"] = $"unix://{_folder.FullName}/no.sock" },
        "--Servers=containers",
        DataRoot);

    [Fact]
    public async Task However_AppHost_ends_nothing_is_left_running_and_the_next_start_finds_all_data()
    {
        string[] signals = ["KILL", "INT", "TERM"];
        foreach (var (run, signal) in signals.Index())
        {
            await using var host = AppHostProcess.Start(_folder.FullName, DataRoot, "--Servers=programs");
            await host.WaitUntilHealthyAsync(Cancel);
            await PublishAsync(host, run);

            // Three brokers, publisher, subscriber, Redis, Postgres, Prometheus, dashboard and orchestrator.
            var processes = host.Processes();
            Assert.True(processes.Count > 10, string.Join(", ", processes));
            await host.SignalAsync(signal, Cancel);
            var exitCode = await host.WaitForExitAsync(Cancel);

            // A killed one is started again at once, over what the old one has left.
            if (signal != "KILL")
            {
                Assert.Equal(0, exitCode);
                var left = processes.Where(one => one.IsAlive && one.Name != "dcp").ToList();
                Assert.True(
                    left.Count == 0,
                    $"After {signal} there is still {string.Join(", ", left)}; AppHost printed:\n{host.Output}");
            }

            using var grace = new CancellationTokenSource(Grace);
            var watching = WaitUntilGoneAsync(processes, grace.Token);
            if (signal == "KILL")
            {
                await using var next = AppHostProcess.Start(_folder.FullName, DataRoot, "--Servers=programs");
                await next.WaitUntilHealthyAsync(Cancel);
            }

            await watching;
        }
    }

    private static async Task WaitUntilGoneAsync(
        IReadOnlyList<RunningProcess> processes, CancellationToken cancellationToken)
    {
        while (processes.Where(one => one.IsAlive).ToList() is { Count: > 0 } left)
        {
            Assert.False(cancellationToken.IsCancellationRequested, $"Still there: {string.Join(", ", left)}");
            await Task.Delay(TimeSpan.FromMilliseconds(100), Cancel);
        }
    }

    /// <summary>
    /// Publishes the message of this run, and sees that those of the runs before it are in the inbox.
    /// </summary>
    private static async Task PublishAsync(AppHostProcess host, int run)
    {
        using var http = new HttpClient();
        using var content = new StringContent($"message {run}");
        using var answer = await http.PostAsync(
            new Uri(host.Address("publisher", "http"), "/publish/e2e.apphost"), content, Cancel);
        Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync(Cancel));
        var inbox = new Uri(host.Address("subscriber", "http"), "/messages?topic=e2e.apphost");
        for (var number = 0; number <= run; number++)
        {
            var value = Convert.ToBase64String(Encoding.UTF8.GetBytes(
                string.Create(CultureInfo.InvariantCulture, $"message {number}")));
            await WaitForAsync(http, inbox, value);
        }
    }

    private static async Task WaitForAsync(HttpClient http, Uri inbox, string value)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        deadline.CancelAfter(AppHostProcess.Patience);
        while (!(await http.GetStringAsync(inbox, deadline.Token)).Contains(value, StringComparison.Ordinal))
        {
            await Task.Delay(TimeSpan.FromMilliseconds(50), deadline.Token);
        }
    }

    private async Task IsRefusedAsync(
        int exitCode, string sentence, Dictionary<string, string> environment, params string[] arguments)
    {
        await using var host = AppHostProcess.Start(_folder.FullName, environment, arguments);
        Assert.Equal(exitCode, await host.WaitForExitAsync(Cancel));
        Assert.StartsWith(sentence, host.Output.TrimStart(), StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", host.Output, StringComparison.Ordinal);
    }
}
