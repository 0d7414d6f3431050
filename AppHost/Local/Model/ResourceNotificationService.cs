using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Aspire.Hosting.Local;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Aspire.Hosting.ApplicationModel;

/// <summary>Knows the state of every resource, and tells those who watch.</summary>
public class ResourceNotificationService
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, ResourceEvent> _states = new(StringComparer.OrdinalIgnoreCase);
    private readonly HashSet<Channel<ResourceEvent>> _watchers = [];

    internal ResourceNotificationService()
    {
    }

    /// <summary>The state of every resource, then each change.</summary>
    public async IAsyncEnumerable<ResourceEvent> WatchAsync(
        [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        // A watcher that sleeps through the bound loses the oldest changes, and still sees the latest state of every
        // resource.
        var channel = Channel.CreateBounded<ResourceEvent>(
            new BoundedChannelOptions(EngineLimits.EventsPerWatcher) { FullMode = BoundedChannelFullMode.DropOldest });
        lock (_gate)
        {
            foreach (var state in _states.Values)
            {
                channel.Writer.TryWrite(state);
            }

            _watchers.Add(channel);
        }

        try
        {
            await foreach (var change in channel.Reader.ReadAllAsync(cancellationToken))
            {
                yield return change;
            }
        }
        finally
        {
            lock (_gate)
            {
                _watchers.Remove(channel);
            }
        }
    }

    public bool TryGetCurrentState(string resourceId, [NotNullWhen(true)] out ResourceEvent? resourceEvent)
    {
        lock (_gate)
        {
            return _states.TryGetValue(resourceId, out resourceEvent);
        }
    }

    /// <summary>Waits for a state, <see cref="KnownResourceStates.Running"/> when none is given.</summary>
    public Task WaitForResourceAsync(
        string resourceName, string? targetState = null, CancellationToken cancellationToken = default) =>
        WaitForResourceAsync(resourceName, [targetState ?? KnownResourceStates.Running], cancellationToken);

    public async Task<string> WaitForResourceAsync(
        string resourceName, IEnumerable<string> targetStates, CancellationToken cancellationToken = default)
    {
        var states = targetStates.ToHashSet(StringComparer.OrdinalIgnoreCase);
        var reached = await WaitForResourceAsync(
            resourceName, e => e.Snapshot.State is { } state && states.Contains(state.Text), cancellationToken);
        return reached.Snapshot.State!.Text;
    }

    public async Task<ResourceEvent> WaitForResourceAsync(
        string resourceName, Func<ResourceEvent, bool> predicate, CancellationToken cancellationToken = default)
    {
        await foreach (var change in WatchAsync(cancellationToken))
        {
            var isWanted = string.Equals(change.Resource.Name, resourceName, StringComparison.OrdinalIgnoreCase);
            if (isWanted && predicate(change))
            {
                return change;
            }
        }

        throw new OperationCanceledException($"The wait for the resource '{resourceName}' has ended without it.");
    }

    /// <summary>
    /// Waits until the resource runs and all its health checks pass; throws when it stops before that.
    /// </summary>
    public Task<ResourceEvent> WaitForResourceHealthyAsync(
        string resourceName, CancellationToken cancellationToken = default) =>
        WaitForResourceHealthyAsync(resourceName, WaitBehavior.StopOnResourceUnavailable, cancellationToken);

    public async Task<ResourceEvent> WaitForResourceHealthyAsync(
        string resourceName, WaitBehavior waitBehavior, CancellationToken cancellationToken = default)
    {
        var reached = await WaitForResourceAsync(
            resourceName,
            e => e.Snapshot.HealthStatus == HealthStatus.Healthy ||
                (waitBehavior == WaitBehavior.StopOnResourceUnavailable && IsTerminal(e.Snapshot)),
            cancellationToken);
        if (reached.Snapshot.HealthStatus != HealthStatus.Healthy)
        {
            throw new DistributedApplicationException(
                $"Stopped waiting for the resource '{resourceName}' to become healthy: {Describe(reached.Snapshot)}");
        }

        return reached;
    }

    /// <summary>Changes what is known about a resource, and tells all watchers.</summary>
    public Task PublishUpdateAsync(
        IResource resource, Func<CustomResourceSnapshot, CustomResourceSnapshot> stateFactory)
    {
        ArgumentNullException.ThrowIfNull(resource);
        ArgumentNullException.ThrowIfNull(stateFactory);
        lock (_gate)
        {
            var previous = _states.TryGetValue(resource.Name, out var known)
                ? known.Snapshot
                : new CustomResourceSnapshot
                {
                    ResourceType = resource.GetType().Name.Replace("Resource", "", StringComparison.Ordinal),
                    Properties = [],
                };
            var change = new ResourceEvent(resource, resource.Name, stateFactory(previous));
            _states[resource.Name] = change;
            foreach (var watcher in _watchers)
            {
                watcher.Writer.TryWrite(change);
            }
        }

        return Task.CompletedTask;
    }

    internal static bool IsTerminal(CustomResourceSnapshot snapshot) =>
        snapshot.State is { } state && KnownResourceStates.TerminalStates.Contains(state.Text);

    internal static string Describe(CustomResourceSnapshot snapshot)
    {
        var exit = snapshot.ExitCode is { } code ? $" with exit code {code}" : "";
        var reason = snapshot.Properties.FirstOrDefault(p => p.Name == SnapshotProperties.Failure)?.Value;
        return $"its state is {snapshot.State?.Text}{exit}.{(reason is null ? "" : $"\n{reason}")}";
    }
}
