using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;

namespace Aspire.Hosting.Local;

/// <summary>
/// What a person at the terminal sees: changes of state, a table of addresses once everything is healthy, and the
/// warnings and
/// errors of the projects. Everything else is in the log files.
/// </summary>
internal sealed class ConsoleReporter : BackgroundService
{
    private readonly Lock _gate = new();
    private readonly DistributedApplicationModel _model;
    private readonly ResourceNotificationService _notifications;
    private readonly DataRoot _root;
    private readonly int _width;

    public ConsoleReporter(
        DistributedApplicationModel model,
        ResourceNotificationService notifications,
        DataRoot root,
        Orchestrator orchestrator)
    {
        _model = model;
        _notifications = notifications;
        _root = root;
        _width = model.Resources.Select(r => r.Name.Length).DefaultIfEmpty(0).Max() + 2;
        var filters = model.Resources.ToDictionary(r => r.Name, _ => new WarningFilter());
        orchestrator.LineAdded += (resource, line, isError) =>
        {
            if (resource is ProjectResource && filters[resource.Name].Passes(line, isError))
            {
                Print($"{resource.Name.PadRight(_width)}{line}");
            }
        };
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var shown = new Dictionary<string, string>();
        var tableShown = false;
        try
        {
            await foreach (var change in _notifications.WatchAsync(stoppingToken))
            {
                var state = StateOf(change.Snapshot);
                if (shown.TryGetValue(change.Resource.Name, out var previous) && previous == state)
                {
                    continue;
                }

                shown[change.Resource.Name] = state;
                Report(change, state);
                if (!tableShown && shown.Count == _model.Resources.Count && shown.Values.All(s => s == "Healthy"))
                {
                    tableShown = true;
                    PrintTable();
                }
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            Print("Stopping.");
        }
    }

    private static string StateOf(CustomResourceSnapshot snapshot) => snapshot.HealthStatus switch
    {
        HealthStatus.Healthy => "Healthy",
        null => snapshot.State?.Text ?? KnownResourceStates.NotStarted,

        // A resource that has just started and one that no longer answers look different to a person.
        _ => snapshot.HealthReports.All(r => r.Status is null) ? KnownResourceStates.Running : "Unhealthy",
    };

    private void Report(ResourceEvent change, string state)
    {
        if (state is "Healthy" || ResourceNotificationService.IsTerminal(change.Snapshot))
        {
            Print($"{change.Resource.Name.PadRight(_width)}{state}{Detail(change.Snapshot)}");
        }
    }

    private string Detail(CustomResourceSnapshot snapshot)
    {
        var code = snapshot.ExitCode is { } exit ? $" (exit code {exit})" : "";
        var failure = snapshot.Properties.FirstOrDefault(p => p.Name == SnapshotProperties.Failure)?.Value as string;
        var indented = failure?.Split('\n').Select(line => $"\n{new string(' ', _width)}  {line}");
        return $"{code}{(indented is null ? "" : string.Concat(indented))}";
    }

    private void PrintTable()
    {
        Print("");
        foreach (var resource in _model.Resources)
        {
            var urls = resource.Annotations.OfType<EndpointAnnotation>()
                .Select(e => $"{e.Name} {e.AllocatedEndpoint!.UriString}".PadRight(30));
            var place = resource is IResourceWithParent child ? $"in {child.Parent.Name}" : string.Join("  ", urls);
            Print($"  {resource.Name.PadRight(_width)}Healthy  {place.TrimEnd()}");
        }

        Print($"\n  Data and logs: {_root.Path}   Stop: Ctrl-C\n");
    }

    private void Print(string line)
    {
        lock (_gate)
        {
            Console.WriteLine(line);
        }
    }
}
