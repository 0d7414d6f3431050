using System.Diagnostics;
using System.Globalization;
using Aspire.Hosting;
using Aspire.Hosting.ApplicationModel;
using Aspire.Hosting.Testing;

namespace Broker.Tests.EndToEnd.Engine;

/// <summary>An application of a few processes in a folder of its own.</summary>
internal sealed class TinyApp : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);
    private readonly bool _ownsData;

    private TinyApp(DistributedApplication app, string dataRoot, bool ownsData)
    {
        App = app;
        DataRoot = dataRoot;
        _ownsData = ownsData;
    }

    public DistributedApplication App { get; }

    public string DataRoot { get; }

    public static TinyApp Build(Action<IDistributedApplicationBuilder> describe, string? dataRoot = null)
    {
        var folder = dataRoot ?? NewFolder();
        var builder = DistributedApplicationTestingBuilder.Create($"--DataRoot={folder}");
        describe(builder);
        return new TinyApp(builder.Build(), folder, ownsData: dataRoot is null);
    }

    public static async Task<TinyApp> StartAsync(
        Action<IDistributedApplicationBuilder> describe, CancellationToken cancellationToken, string? dataRoot = null)
    {
        var tiny = Build(describe, dataRoot);
        await tiny.App.StartAsync(cancellationToken);
        return tiny;
    }

    public static string NewFolder() => Path.Combine(Path.GetTempPath(), $"tiny-app-{Guid.NewGuid():N}");

    public static bool IsAlive(int processId)
    {
        try
        {
            using var process = Process.GetProcessById(processId);
            return !process.HasExited;
        }
        catch (ArgumentException)
        {
            return false;
        }
    }

    public async Task<int> HealthyProcessAsync(string name, CancellationToken cancellationToken)
    {
        var healthy = await App.ResourceNotifications.WaitForResourceHealthyAsync(name, cancellationToken)
            .WaitAsync(Patience, cancellationToken);
        return Convert.ToInt32(
            healthy.Snapshot.Properties.First(p => p.Name == "executable.pid").Value, CultureInfo.InvariantCulture);
    }

    public async Task<CustomResourceSnapshot> InStateAsync(
        string name, string state, CancellationToken cancellationToken)
    {
        var reached = await App.ResourceNotifications
            .WaitForResourceAsync(name, e => e.Snapshot.State?.Text == state, cancellationToken)
            .WaitAsync(Patience, cancellationToken);
        return reached.Snapshot;
    }

    public static string? FailureOf(CustomResourceSnapshot snapshot) =>
        snapshot.Properties.FirstOrDefault(p => p.Name == "local.failure")?.Value as string;

    public async ValueTask DisposeAsync()
    {
        await App.DisposeAsync();
        if (_ownsData && Directory.Exists(DataRoot))
        {
            Directory.Delete(DataRoot, recursive: true);
        }
    }
}
