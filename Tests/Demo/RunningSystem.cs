using System.Diagnostics;
using System.Globalization;
using Aspire.Hosting;
using Aspire.Hosting.ApplicationModel;
using Aspire.Hosting.Testing;
using Broker.Client;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Broker.Tests.Demo;

/// <summary>The whole system, as AppHost/Program.cs describes it, started from a test or from the demo.</summary>
public sealed class RunningSystem : ISystem, IAsyncDisposable
{
    /// <summary>Longer than the slowest step (initdb on a cold disk) takes on a busy machine.</summary>
    private static readonly TimeSpan StepTimeout = TimeSpan.FromMinutes(2);

    private readonly DistributedApplication _app;

    private RunningSystem(DistributedApplication app)
    {
        _app = app;
        Client = new BrokerClient(new BrokerClientOptions
        {
            Addresses = [.. Brokers.Select(name => app.GetEndpoint(name, "grpc"))],
            ClientName = "main-job",

            // All brokers may be down at once, on a machine that is busy with other things.
            PublishTimeout = StepTimeout,
        });
    }

    public static IReadOnlyList<string> Brokers { get; } = ["broker-1", "broker-2", "broker-3"];

    /// <summary>Everything that runs.</summary>
    public static IReadOnlyList<string> Resources { get; } =
        [.. Brokers, "publisher", "subscriber", "cache", "postgres", "outbox", "inbox", "prometheus"];

    public DistributedApplication App => _app;

    public BrokerClient Client { get; }

    /// <summary>Starts the system over a data folder and waits until every part of it is healthy.</summary>
    /// <param name="dataRoot">Where everything keeps its data.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <param name="brokerSettings">Environment variables of every broker, beside what AppHost gives them.</param>
    public static async Task<RunningSystem> StartAsync(
        string dataRoot,
        CancellationToken cancellationToken,
        IReadOnlyDictionary<string, string>? brokerSettings = null)
    {
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        timeout.CancelAfter(StepTimeout);
        var builder = await DescribeAsync(dataRoot, timeout.Token);
        foreach (var broker in builder.Resources.OfType<ProjectResource>().Where(one => Brokers.Contains(one.Name)))
        {
            foreach (var (name, value) in brokerSettings ?? new Dictionary<string, string>())
            {
                builder.CreateResourceBuilder(broker).WithEnvironment(name, value);
            }
        }

        var app = await builder.BuildAsync(timeout.Token);
        try
        {
            await app.StartAsync(timeout.Token);
            await Task.WhenAll(Resources.Select(resource =>
                app.ResourceNotifications.WaitForResourceHealthyAsync(resource, timeout.Token)));
            return new RunningSystem(app);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            var states = string.Join(", ", Resources.Select(name => $"{name} {StateOf(app, name)}"));
            await app.DisposeAsync();
            throw new TimeoutException($"After {StepTimeout} not everything is healthy: {states}.");
        }
        catch
        {
            await app.DisposeAsync();
            throw;
        }
    }

    /// <summary>The system as AppHost describes it, over a data folder; on free ports, without the dashboard.</summary>
    public static async Task<IDistributedApplicationTestingBuilder> DescribeAsync(
        string dataRoot, CancellationToken cancellationToken)
    {
        // Servers as programs, since they are killed by their process ids.
        var builder = await DistributedApplicationTestingBuilder.CreateAsync<Projects.AppHost>(
            [$"--DataRoot={dataRoot}", "--Servers=programs"], cancellationToken);

        // They would carry the logs of all services, and a stack trace of each health check that fails at the start.
        builder.Services.AddLogging(logging => logging.ClearProviders());
        return builder;
    }

    public Uri Endpoint(string resource, string endpoint) => _app.GetEndpoint(resource, endpoint);

    public HttpClient CreateHttpClient(string resource) => _app.CreateHttpClient(resource, "http");

    public async Task<string> ConnectionStringAsync(string resource, CancellationToken cancellationToken) =>
        await _app.GetConnectionStringAsync(resource, cancellationToken)
            ?? throw new InvalidOperationException($"Resource '{resource}' has no connection string.");

    /// <summary>The id of the process behind a running resource.</summary>
    public int ProcessIdOf(string resource)
    {
        if (!_app.ResourceNotifications.TryGetCurrentState(resource, out var current)
            || current.Snapshot.State?.Text != KnownResourceStates.Running)
        {
            throw new InvalidOperationException($"The resource '{resource}' does not run.");
        }

        var id = current.Snapshot.Properties.First(property => property.Name == "executable.pid").Value;
        return Convert.ToInt32(id, CultureInfo.InvariantCulture);
    }

    /// <summary>kill -9, and waits until the system has noticed. The resource stays down until it is started.</summary>
    public async Task KillAsync(string resource, CancellationToken cancellationToken)
    {
        using var process = Process.GetProcessById(ProcessIdOf(resource));
        process.Kill();
        await WaitForEndAsync(resource, cancellationToken);
    }

    /// <summary>An orderly stop.</summary>
    public async Task StopAsync(string resource, CancellationToken cancellationToken)
    {
        await ExecuteAsync(resource, KnownResourceCommands.StopCommand, cancellationToken);
        await WaitForEndAsync(resource, cancellationToken);
    }

    /// <summary>Starts a resource that was killed or stopped, and waits until it is healthy.</summary>
    public async Task StartResourceAsync(string resource, CancellationToken cancellationToken)
    {
        await ExecuteAsync(resource, KnownResourceCommands.StartCommand, cancellationToken);

        // The command returns before the news of the start are out: what is known of the resource may still be its end,
        // which is not to be taken for a failed start.
        await _app.ResourceNotifications
            .WaitForResourceHealthyAsync(resource, WaitBehavior.WaitOnResourceUnavailable, cancellationToken)
            .WaitAsync(StepTimeout, cancellationToken);
    }

    Task ISystem.StartAsync(string resource, CancellationToken cancellationToken) =>
        StartResourceAsync(resource, cancellationToken);

    public async ValueTask DisposeAsync()
    {
        await Client.DisposeAsync();
        await _app.StopAsync();
        await _app.DisposeAsync();
    }

    private static string StateOf(DistributedApplication app, string resource) =>
        app.ResourceNotifications.TryGetCurrentState(resource, out var current)
            ? $"{current.Snapshot.State?.Text} {current.Snapshot.HealthStatus}".Trim()
            : "unknown";

    private Task<string> WaitForEndAsync(string resource, CancellationToken cancellationToken) =>
        _app.ResourceNotifications.WaitForResourceAsync(resource, KnownResourceStates.TerminalStates, cancellationToken)
            .WaitAsync(StepTimeout, cancellationToken);

    private async Task ExecuteAsync(string resource, string command, CancellationToken cancellationToken)
    {
        var result = await _app.ResourceCommands.ExecuteCommandAsync(resource, command, cancellationToken);
        if (!result.Success)
        {
            throw new InvalidOperationException($"'{command}' of '{resource}' failed: {result.Message}");
        }
    }
}
