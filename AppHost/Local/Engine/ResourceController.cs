namespace Aspire.Hosting.Local;

/// <summary>Starts and stops the process of one resource, one command at a time, and publishes its states.</summary>
internal sealed class ResourceController(IResource resource, LaunchRecipe recipe, EngineServices services) : IDisposable
{
    private readonly SemaphoreSlim _gate = new(1, 1);
    private readonly HealthMonitor _monitor = new(resource, services);
    private volatile CancellationTokenSource? _attempt;
    private volatile bool _stopRequested;
    private OutputLog? _log;
    private LocalProcess? _process;
    private Task _supervision = Task.CompletedTask;

    /// <summary>A line that the process wrote, and whether it came on the error stream.</summary>
    public event Action<string, bool>? LineAdded;

    public IResource Resource => resource;

    public bool IsExplicit => resource.Annotations.OfType<ExplicitStartupAnnotation>().Any();

    /// <summary>
    /// Waits for what the resource needs, and starts it. Returns the reason when that fails; a running one is left
    /// alone.
    /// </summary>
    public async Task<string?> StartAsync(CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken);
        using var attempt = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        _attempt = attempt;
        try
        {
            if (_process is { Exited.IsCompleted: false })
            {
                return null;
            }

            await _supervision;
            _stopRequested = false;
            await DependencyWait.ForAsync(resource, services, attempt.Token);
            await LaunchAsync(attempt.Token);
            return null;
        }
        catch (OperationCanceledException) when (attempt.IsCancellationRequested)
        {
            await PublishAsync(s => s with { State = KnownResourceStates.Exited });
            return "The start was cancelled.";
        }
#pragma warning disable CA1031 // Whatever goes wrong in a recipe or a callback becomes the resource's state.
        catch (Exception e)
#pragma warning restore CA1031
        {
            await PublishFailureAsync(e.Message, KnownResourceStates.FailedToStart, exitCode: null);
            return e.Message;
        }
        finally
        {
            _attempt = null;
            _gate.Release();
        }
    }

    /// <summary>
    /// Ends a start that is still waiting, or the process. A resource that does not run is left alone.
    /// </summary>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        _stopRequested = true;
        await CancelAttemptAsync();
        await _gate.WaitAsync(cancellationToken);
        try
        {
            if (_process is { Exited.IsCompleted: false } process)
            {
                _stopRequested = true;
                await PublishAsync(s => s with { State = KnownResourceStates.Stopping });
                await process.StopAsync();
            }

            await _supervision;
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>Kills the process when it still runs.</summary>
    public void Dispose()
    {
        if (_process is { Exited.IsCompleted: false } process)
        {
            process.Kill();
        }

        _log?.Dispose();
        _process?.Dispose();
        _gate.Dispose();
    }

    private async Task CancelAttemptAsync()
    {
        try
        {
            if (_attempt is { } attempt)
            {
                await attempt.CancelAsync();
            }
        }
        catch (ObjectDisposedException)
        {
            // The attempt has ended between the two lines; what it started is stopped next.
            _attempt = null;
        }
    }

    private async Task LaunchAsync(CancellationToken cancellationToken)
    {
        await PublishAsync(s => s with { State = KnownResourceStates.Starting, ExitCode = null, StopTimeStamp = null });
        await services.Eventing.PublishAsync(
            new BeforeResourceStartedEvent(resource, services.Provider), cancellationToken);
        CheckPorts();
        var input = new LaunchInput(
            await ResourceValues.EnvironmentOfAsync(resource, services.Execution, cancellationToken),
            await ResourceValues.ArgumentsOfAsync(resource, cancellationToken));
        var plan = await recipe.PrepareAsync(input, cancellationToken);
        _log ??= OpenLog();
        var process = await LocalProcess.StartAsync(plan, _log, services.Time);
        _process?.Dispose();
        _process = process;
        await PublishAsync(s => s with
        {
            State = KnownResourceStates.Running,
            StartTimeStamp = services.Time.GetUtcNow().UtcDateTime,
            HealthReports = _monitor.NoReports,
            Urls = [.. UrlsOf(resource)],
            Properties =
            [
                new ResourcePropertySnapshot(SnapshotProperties.ProcessId, process.Id),
                new ResourcePropertySnapshot(SnapshotProperties.LogFile, services.Root.LogFileOf(resource.Name)),
            ],
        });
        _supervision = SuperviseAsync(process);
    }

    private async Task SuperviseAsync(LocalProcess process)
    {
        using var ended = new CancellationTokenSource();
        var health = _monitor.RunAsync(ended.Token);
        var exitCode = await process.Exited;
        await ended.CancelAsync();
        await health;
        await _monitor.PublishChildrenAsync(KnownResourceStates.Exited);
        if (_stopRequested || exitCode == 0)
        {
            await PublishAsync(s => s with
            {
                State = _stopRequested ? KnownResourceStates.Exited : KnownResourceStates.Finished,
                ExitCode = exitCode,
                StopTimeStamp = services.Time.GetUtcNow().UtcDateTime,
            });
        }
        else
        {
            await PublishFailureAsync(process.Log.LastLines, KnownResourceStates.Exited, exitCode);
        }
    }

    private OutputLog OpenLog()
    {
        var log = new OutputLog(services.Root.LogFileOf(resource.Name));
        log.LineAdded += (line, isError) => LineAdded?.Invoke(line, isError);
        return log;
    }

    private void CheckPorts()
    {
        foreach (var endpoint in resource.Annotations.OfType<EndpointAnnotation>())
        {
            var port = endpoint.AllocatedEndpoint!.Port;
            if (!PortAllocator.IsFree(port))
            {
                throw new DistributedApplicationException(
                    $"Port {port} of the endpoint '{endpoint.Name}' of '{resource.Name}' is in use.");
            }
        }
    }

    private static IEnumerable<UrlSnapshot> UrlsOf(IResource resource) =>
        resource.Annotations.OfType<EndpointAnnotation>()
        .Select(e => new UrlSnapshot(e.Name, e.AllocatedEndpoint!.UriString, IsInternal: false));

    private Task PublishFailureAsync(string reason, string state, int? exitCode) => PublishAsync(s => s with
    {
        State = state,
        ExitCode = exitCode,
        StopTimeStamp = services.Time.GetUtcNow().UtcDateTime,
        Properties = [.. s.Properties, new ResourcePropertySnapshot(SnapshotProperties.Failure, reason)],
    });

    private Task PublishAsync(Func<CustomResourceSnapshot, CustomResourceSnapshot> change) =>
        services.Notifications.PublishUpdateAsync(resource, change);
}
