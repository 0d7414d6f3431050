using System.Diagnostics;
using System.Globalization;
using Aspire.Hosting;
using Aspire.Hosting.ApplicationModel;
using Aspire.Hosting.Testing;
using Xunit;

namespace Broker.Tests.EndToEnd;

/// <summary>
/// The whole system, started once for all tests of the collection, with its data in a folder of its own.
/// </summary>
public sealed class BrokerSystem : IAsyncLifetime
{
    private static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(120);
    private readonly string _dataRoot = Path.Combine(Path.GetTempPath(), $"broker-end-to-end-{Guid.NewGuid():N}");
    private DistributedApplication? _app;

    public static IReadOnlyList<string> Brokers { get; } = ["broker-1", "broker-2", "broker-3"];

    public DistributedApplication App =>
        _app ?? throw new InvalidOperationException("The system has not been started.");

    public string DataRoot => _dataRoot;

    /// <summary>The gRPC addresses of all brokers, as a client is given them.</summary>
    public IReadOnlyList<Uri> BrokerAddresses => [.. Brokers.Select(Grpc)];

    public async ValueTask InitializeAsync()
    {
        using var timeout = new CancellationTokenSource(StartTimeout);
        var builder = await DistributedApplicationTestingBuilder.CreateAsync<Projects.AppHost>(
            [$"--DataRoot={_dataRoot}"], timeout.Token);
        _app = await builder.BuildAsync(timeout.Token);
        await _app.StartAsync(timeout.Token);
        string[] names = [.. Brokers, "publisher", "subscriber", "cache", "postgres", "outbox", "inbox", "prometheus"];
        await Task.WhenAll(names.Select(name => WaitHealthyAsync(name, timeout.Token)));
    }

    public async ValueTask DisposeAsync()
    {
        if (_app is not null)
        {
            await _app.StopAsync();
            await _app.DisposeAsync();
        }

        if (Directory.Exists(_dataRoot))
        {
            Directory.Delete(_dataRoot, recursive: true);
        }
    }

    public Uri Grpc(string name) => App.GetEndpoint(name, "grpc");

    public Uri Http(string name) => App.GetEndpoint(name, "http");

    public HttpClient CreateHttpClient(string name) => App.CreateHttpClient(name, "http");

    public Task WaitHealthyAsync(string name, CancellationToken cancellationToken) =>
        App.ResourceNotifications.WaitForResourceHealthyAsync(name, cancellationToken)
            .WaitAsync(StartTimeout, cancellationToken);

    /// <summary>The id of the process behind a running resource.</summary>
    public int ProcessIdOf(string name)
    {
        if (!App.ResourceNotifications.TryGetCurrentState(name, out var current) ||
            current.Snapshot.State?.Text != KnownResourceStates.Running)
        {
            throw new InvalidOperationException($"The resource '{name}' does not run.");
        }

        var id = current.Snapshot.Properties.First(p => p.Name == "executable.pid").Value;
        return Convert.ToInt32(id, CultureInfo.InvariantCulture);
    }

    /// <summary>kill -9, and waits until the system has noticed. The resource stays down until it is started.</summary>
    public async Task KillAsync(string name, CancellationToken cancellationToken)
    {
        using var process = Process.GetProcessById(ProcessIdOf(name));
        process.Kill();
        await App.ResourceNotifications.WaitForResourceAsync(
            name, KnownResourceStates.TerminalStates, cancellationToken)
            .WaitAsync(StartTimeout, cancellationToken);
    }

    /// <summary>An orderly stop.</summary>
    public async Task StopAsync(string name, CancellationToken cancellationToken)
    {
        await ExecuteAsync(name, KnownResourceCommands.StopCommand, cancellationToken);
        await App.ResourceNotifications.WaitForResourceAsync(
            name, KnownResourceStates.TerminalStates, cancellationToken);
    }

    /// <summary>Starts a resource that was killed or stopped, and waits until it is healthy.</summary>
    public async Task StartAsync(string name, CancellationToken cancellationToken)
    {
        await ExecuteAsync(name, KnownResourceCommands.StartCommand, cancellationToken);
        await WaitHealthyAsync(name, cancellationToken);
    }

    private async Task ExecuteAsync(string name, string command, CancellationToken cancellationToken)
    {
        var result = await App.ResourceCommands.ExecuteCommandAsync(name, command, cancellationToken);
        if (!result.Success)
        {
            throw new InvalidOperationException($"'{command}' of '{name}' failed: {result.Message}");
        }
    }
}
