using Aspire.Hosting.Eventing;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;

namespace Aspire.Hosting.Local;

/// <summary>Starts and stops all resources of the application.</summary>
internal sealed class Orchestrator : IHostedService, IAsyncDisposable, IDisposable
{
    private readonly DistributedApplicationModel _model;
    private readonly DataRoot _root;
    private readonly EngineServices _services;
    private readonly IServiceProvider _provider;
    private readonly Dictionary<string, ResourceController> _controllers = new(StringComparer.OrdinalIgnoreCase);
    private readonly CancellationTokenSource _stopping = new();
    private DataRootLock? _lock;
    private Task _starts = Task.CompletedTask;
    private bool _isDisposed;

    public Orchestrator(
        DistributedApplicationModel model,
        DataRoot root,
        ResourceNotificationService notifications,
        IDistributedApplicationEventing eventing,
        DistributedApplicationExecutionContext execution,
        HealthCheckService health,
        TimeProvider time,
        IServiceProvider provider)
    {
        _model = model;
        _root = root;
        _provider = provider;
        _services = new EngineServices(model, root, notifications, eventing, execution, health, time, provider);
    }

    /// <summary>A line that a resource wrote, and whether it came on the error stream.</summary>
    public event Action<IResource, string, bool>? LineAdded;

    public ResourceController? FindController(string resourceName) => _controllers.GetValueOrDefault(resourceName);

    public async Task StartAsync(CancellationToken cancellationToken)
    {
        _lock = DataRootLock.Acquire(_root);
        AllocateEndpoints();
        foreach (var resource in _model.Resources)
        {
            var explicitStart = resource.Annotations.OfType<ExplicitStartupAnnotation>().Any();
            if (LaunchRecipe.For(resource, _root) is { } recipe)
            {
                var controller = new ResourceController(resource, recipe, _services);
                controller.LineAdded += (line, isError) => LineAdded?.Invoke(resource, line, isError);
                _controllers.Add(resource.Name, controller);
            }

            // A parameter is there at once; a database when its server is.
            var state = resource is ParameterResource ? KnownResourceStates.Running
                : explicitStart ? KnownResourceStates.NotStarted
                : KnownResourceStates.Waiting;
            await _services.Notifications.PublishUpdateAsync(resource, s => s with
            {
                State = state,
                CreationTimeStamp = _services.Time.GetUtcNow().UtcDateTime,
            });
        }

        await _services.Eventing.PublishAsync(new BeforeStartEvent(_provider, _model), cancellationToken);
        _starts = Task.WhenAll(
            _controllers.Values.Where(c => !c.IsExplicit).Select(c => c.StartAsync(_stopping.Token)));
    }

    public async Task StopAsync(CancellationToken cancellationToken)
    {
        await _stopping.CancelAsync();
        await _starts;
        foreach (var wave in StopOrder.Of([.. _controllers.Values.Select(c => c.Resource)]))
        {
            await Task.WhenAll(wave.Select(r => _controllers[r.Name].StopAsync(CancellationToken.None)));
        }

        _lock?.Dispose();
        _lock = null;
    }

    public async ValueTask DisposeAsync()
    {
        // An application that is disposed without a stop leaves no process either.
        if (!_isDisposed)
        {
            await StopAsync(CancellationToken.None);
            Dispose();
        }
    }

    /// <summary>Cannot wait, so it kills what still runs.</summary>
    public void Dispose()
    {
        if (_isDisposed)
        {
            return;
        }

        _isDisposed = true;
        _stopping.Cancel();
        foreach (var controller in _controllers.Values)
        {
            controller.Dispose();
        }

        _stopping.Dispose();
        _lock?.Dispose();
    }

    private void AllocateEndpoints()
    {
        var ports = new PortAllocator();
        foreach (var resource in _model.Resources)
        {
            foreach (var endpoint in resource.Annotations.OfType<EndpointAnnotation>())
            {
                // The target port of a container belongs to the container's own network; here the process listens on
                // the outer one.
                var wanted = resource is ContainerResource ? endpoint.Port : endpoint.TargetPort ?? endpoint.Port;
                endpoint.AllocatedEndpoint = new AllocatedEndpoint(endpoint, "localhost", wanted ?? ports.Next());
            }
        }
    }
}
