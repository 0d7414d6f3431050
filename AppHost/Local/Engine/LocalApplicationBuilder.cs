using System.Reflection;
using Aspire.Hosting.Eventing;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Aspire.Hosting.Local;

/// <summary>Describes an application whose resources run as processes.</summary>
internal sealed class LocalApplicationBuilder : IDistributedApplicationBuilder
{
    private readonly HostApplicationBuilder _host;
    private readonly EntryPointHook? _hook;

    public LocalApplicationBuilder(DistributedApplicationOptions options, EntryPointHook? hook)
    {
        _hook = hook;
        AppHostAssembly = hook?.Assembly
            ?? (options.AssemblyName is { } name ? Assembly.Load(name) : Assembly.GetEntryAssembly());
        AppHostDirectory = FindDirectory(AppHostAssembly);
        _host = Host.CreateApplicationBuilder(new HostApplicationBuilderSettings
        {
            Args = options.Args,
            ContentRootPath = AppHostDirectory,
        });
        AddServices(isTest: hook is not null);
    }

    public ConfigurationManager Configuration => _host.Configuration;

    public string AppHostDirectory { get; }

    public Assembly? AppHostAssembly { get; }

    public IHostEnvironment Environment => _host.Environment;

    public IServiceCollection Services => _host.Services;

    public IDistributedApplicationEventing Eventing { get; } = new DistributedApplicationEventing();

    public DistributedApplicationExecutionContext ExecutionContext { get; } = new(DistributedApplicationOperation.Run);

    public IResourceCollection Resources { get; } = new ResourceCollection();

    public IResourceBuilder<T> AddResource<T>(T resource)
        where T : IResource
    {
        if (Resources.TryGetByName(resource.Name, out _))
        {
            throw new DistributedApplicationException($"There is already a resource named '{resource.Name}'.");
        }

        Resources.Add(resource);
        return CreateResourceBuilder(resource);
    }

    public IResourceBuilder<T> CreateResourceBuilder<T>(T resource)
        where T : IResource => new LocalResourceBuilder<T>(this, resource);

    public DistributedApplication Build()
    {
        _hook?.HandOver(this);
        return BuildHost();
    }

    public DistributedApplication BuildHost() => new(_host.Build());

    // The build writes the path of the project into its assembly; a test that makes an application from nothing has
    // none.
    private static string FindDirectory(Assembly? assembly)
    {
        var path = assembly?.GetCustomAttributes<AssemblyMetadataAttribute>()
            .FirstOrDefault(a => string.Equals(a.Key, "apphostprojectpath", StringComparison.OrdinalIgnoreCase))?.Value;
        return path is not null && Directory.Exists(path) ? path : Directory.GetCurrentDirectory();
    }

    private void AddServices(bool isTest)
    {
        var root = DataRoot.From(this);
        Services.AddSingleton(TimeProvider.System);
        Services.AddSingleton(root);
        Services.AddSingleton(Eventing);
        Services.AddSingleton(ExecutionContext);
        Services.AddSingleton(new DistributedApplicationModel(Resources));
        Services.AddSingleton(new ResourceNotificationService());
        Services.AddSingleton<Orchestrator>();
        Services.AddSingleton(provider => new ResourceCommandService(provider.GetRequiredService<Orchestrator>()));
        Services.AddHostedService(provider => provider.GetRequiredService<Orchestrator>());
        Services.AddHealthChecks();
        Services.AddHttpClient();
        Services.Configure<HostOptions>(options => options.ShutdownTimeout = EngineLimits.ShutdownTimeout);

        // A resource that starts is not healthy, and that is no news.
        _host.Logging.AddFilter("Microsoft.Extensions.Diagnostics.HealthChecks", LogLevel.None);
        _host.Logging.AddFilter("System.Net.Http", LogLevel.Warning);

        // A failed start ends the application with its message.
        _host.Logging.AddFilter("Microsoft.Extensions.Hosting.Internal.Host", LogLevel.Critical);
        if (isTest)
        {
            // The signals belong to the test runner.
            Services.AddSingleton<IHostLifetime, TestLifetime>();
        }
        else
        {
            Services.Configure<ConsoleLifetimeOptions>(options => options.SuppressStatusMessages = true);
            Services.AddHostedService<ConsoleReporter>();
        }
    }

    private sealed class TestLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
