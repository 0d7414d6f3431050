using Aspire.Hosting.Local;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace Aspire.Hosting;

/// <summary>An application that runs all its resources as processes of this machine.</summary>
public class DistributedApplication : IHost, IAsyncDisposable
{
    private readonly IHost _host;

    public DistributedApplication(IHost host)
    {
        ArgumentNullException.ThrowIfNull(host);
        _host = host;
        ResourceNotifications = host.Services.GetRequiredService<ResourceNotificationService>();
        ResourceCommands = host.Services.GetRequiredService<ResourceCommandService>();
    }

    public IServiceProvider Services => _host.Services;

    public ResourceNotificationService ResourceNotifications { get; }

    public ResourceCommandService ResourceCommands { get; }

    public static IDistributedApplicationBuilder CreateBuilder() => CreateBuilder([]);

    public static IDistributedApplicationBuilder CreateBuilder(string[] args) =>
        CreateBuilder(new DistributedApplicationOptions { Args = args });

    public static IDistributedApplicationBuilder CreateBuilder(DistributedApplicationOptions options) =>
        new LocalApplicationBuilder(options, EntryPointHook.Current);

    /// <summary>Starts all resources and returns; they become healthy in their own time.</summary>
    public virtual Task StartAsync(CancellationToken cancellationToken = default) =>
        _host.StartAsync(cancellationToken);

    /// <summary>Stops all resources, those that others need last.</summary>
    public virtual Task StopAsync(CancellationToken cancellationToken = default) => _host.StopAsync(cancellationToken);

    /// <summary>Starts, waits for Ctrl-C or SIGTERM, and stops.</summary>
    public virtual Task RunAsync(CancellationToken cancellationToken = default) => _host.RunAsync(cancellationToken);

    /// <summary>As <see cref="RunAsync"/>, for an entry point that is not asynchronous.</summary>
    public void Run()
    {
        try
        {
            _host.Run();
        }
        catch (DistributedApplicationException e)
        {
            // Its message is made for the person at the terminal; a stack trace would only hide it.
            Console.Error.WriteLine(e.Message);
            Environment.ExitCode = 1;
        }
    }

    public virtual void Dispose()
    {
        _host.Dispose();
        GC.SuppressFinalize(this);
    }

    public virtual async ValueTask DisposeAsync()
    {
        // The resources end while the services that watch them are still there.
        await Services.GetRequiredService<Orchestrator>().DisposeAsync();
        if (_host is IAsyncDisposable disposable)
        {
            await disposable.DisposeAsync();
        }
        else
        {
            _host.Dispose();
        }

        GC.SuppressFinalize(this);
    }
}
