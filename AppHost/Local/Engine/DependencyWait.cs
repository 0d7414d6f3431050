namespace Aspire.Hosting.Local;

/// <summary>Waits for the resources that must be there before another one starts.</summary>
internal static class DependencyWait
{
    public static async Task ForAsync(IResource resource, EngineServices services, CancellationToken cancellationToken)
    {
        var waits = resource.Annotations.OfType<WaitAnnotation>().ToList();
        if (waits.Count == 0)
        {
            return;
        }

        await services.Notifications.PublishUpdateAsync(resource, s => s with { State = KnownResourceStates.Waiting });
        await Task.WhenAll(waits.Select(wait => ForAsync(wait, services.Notifications, cancellationToken)));
    }

    private static async Task ForAsync(
        WaitAnnotation wait, ResourceNotificationService notifications, CancellationToken cancellationToken)
    {
        var name = wait.Resource.Name;
        switch (wait.WaitType)
        {
            case WaitType.WaitUntilHealthy:
                await notifications.WaitForResourceHealthyAsync(name, cancellationToken);
                break;
            case WaitType.WaitUntilStarted:
                var started = await notifications.WaitForResourceAsync(
                    name,
                    e => IsRunning(e) || ResourceNotificationService.IsTerminal(e.Snapshot),
                    cancellationToken);
                Require(started, IsRunning(started));
                break;
            case WaitType.WaitForCompletion:
                var ended = await notifications.WaitForResourceAsync(
                    name, e => ResourceNotificationService.IsTerminal(e.Snapshot), cancellationToken);
                Require(ended, ended.Snapshot.ExitCode == wait.ExitCode);
                break;
            default:
                throw new InvalidOperationException($"The wait type '{wait.WaitType}' is unknown.");
        }
    }

    private static bool IsRunning(ResourceEvent reached) =>
        reached.Snapshot.State?.Text == KnownResourceStates.Running;

    private static void Require(ResourceEvent reached, bool condition)
    {
        if (!condition)
        {
            throw new DistributedApplicationException(
                $"Stopped waiting for the resource '{reached.Resource.Name}': " +
                ResourceNotificationService.Describe(reached.Snapshot));
        }
    }
}
