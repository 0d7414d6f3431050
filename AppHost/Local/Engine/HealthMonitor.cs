using System.Collections.Immutable;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Aspire.Hosting.Local;

/// <summary>Runs the health checks of a resource while its process lives, and says when it is ready.</summary>
internal sealed class HealthMonitor(IResource resource, EngineServices services)
{
    private readonly ImmutableArray<string> _keys =
        [.. resource.Annotations.OfType<HealthCheckAnnotation>().Select(a => a.Key)];

    /// <summary>The reports before the first check: the resource is not healthy yet, unless it has no checks.</summary>
    public ImmutableArray<HealthReportSnapshot> NoReports =>
        [.. _keys.Select(key => new HealthReportSnapshot(key, null, null, null))];

    /// <summary>Ends when the token is cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        try
        {
            var isReady = false;
            ImmutableArray<HealthReportSnapshot> published = [];
            while (true)
            {
                var reports = await CheckAsync(cancellationToken);
                var isHealthy = reports.All(r => r.Status == HealthStatus.Healthy);
                if (isHealthy && !isReady)
                {
                    (isReady, reports) = await BecomeReadyAsync(reports, cancellationToken);
                }

                if (!reports.SequenceEqual(published))
                {
                    published = reports;
                    await services.Notifications.PublishUpdateAsync(resource, s => s with { HealthReports = reports });
                }

                var pause = isReady && isHealthy
                    ? EngineLimits.HealthIntervalWhenHealthy
                    : EngineLimits.HealthIntervalUntilHealthy;
                await Task.Delay(pause, services.Time, cancellationToken);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The process has ended; its controller publishes the next state.
        }
    }

    /// <summary>Sets the state of the resources that live in this one.</summary>
    public async Task PublishChildrenAsync(string state)
    {
        foreach (var child in services.Model.Resources.OfType<IResourceWithParent>().Where(c => c.Parent == resource))
        {
            await services.Notifications.PublishUpdateAsync(child, s => s with { State = state });
        }
    }

    private async Task<ImmutableArray<HealthReportSnapshot>> CheckAsync(CancellationToken cancellationToken)
    {
        if (_keys.IsEmpty)
        {
            return [];
        }

        var report = await services.Health.CheckHealthAsync(r => _keys.Contains(r.Name), cancellationToken);
        return [.. report.Entries.Select(e => new HealthReportSnapshot(
            e.Key, e.Value.Status, e.Value.Description, e.Value.Exception?.Message))];
    }

    // A subscriber that fails is tried again with the next check; until it succeeds the resource is not healthy.
    private async Task<(bool IsReady, ImmutableArray<HealthReportSnapshot> Reports)> BecomeReadyAsync(
        ImmutableArray<HealthReportSnapshot> reports, CancellationToken cancellationToken)
    {
        try
        {
            await services.Eventing.PublishAsync(
                new ResourceReadyEvent(resource, services.Provider), cancellationToken);
            await PublishChildrenAsync(KnownResourceStates.Running);
            return (true, reports);
        }
#pragma warning disable CA1031 // Whatever goes wrong in a callback of the description becomes the resource's health.
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
#pragma warning restore CA1031
        {
            return (false, [.. reports, new HealthReportSnapshot("ready", HealthStatus.Unhealthy, null, e.Message)]);
        }
    }
}
