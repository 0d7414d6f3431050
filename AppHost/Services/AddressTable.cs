using Microsoft.Extensions.DependencyInjection;

namespace Broker.AppHost.Services;

/// <summary>What a start prints in the end: where everything is.</summary>
internal static class AddressTable
{
    private const string Dashboard = "aspire-dashboard";

    /// <summary>Prints the table when every part that has a health check is healthy.</summary>
    public static void PrintAddressesWhenHealthy(this IDistributedApplicationBuilder builder, Settings settings)
    {
        if (!settings.HasDashboard)
        {
            return;
        }

        // The cluster is its nodes.
        var parts = builder.Resources.Where(one =>
            one is not BrokerResource && one.Annotations.OfType<HealthCheckAnnotation>().Any()).ToList();
        var waiting = parts.Select(one => one.Name).ToHashSet();
        builder.Eventing.Subscribe<ResourceReadyEvent>((ready, _) =>
        {
            lock (waiting)
            {
                if (waiting.Remove(ready.Resource.Name) && waiting.Count == 0)
                {
                    Console.WriteLine(Text(parts, settings, ready.Services));
                }
            }

            return Task.CompletedTask;
        });
    }

    private static string Text(List<IResource> parts, Settings settings, IServiceProvider services)
    {
        var rows = parts.Select(part => (part.Name, Addresses: Addresses(part)))
            .Append(("dashboard", DashboardAddress(services)))
            .Append(("data", settings.DataRoot))
            .Select(row => $"{row.Item1,-12} {row.Item2}".TrimEnd());
        return $"""

            {string.Join('\n', rows)}
            All {parts.Count} parts are healthy. Ctrl-C stops everything.
            """;
    }

    private static string Addresses(IResource part) => part switch
    {
        IResourceWithEndpoints one => string.Join(
            "  ", one.GetEndpoints().Select(endpoint => $"{endpoint.EndpointName} {endpoint.Url}")),
        IResourceWithParent { Parent.Name: var parent } => $"in {parent}",
        _ => "",
    };

    /// <summary>With the token that logs in.</summary>
    private static string DashboardAddress(IServiceProvider services) =>
        services.GetRequiredService<ResourceNotificationService>().TryGetCurrentState(Dashboard, out var current)
            ? current.Snapshot.Urls.Select(url => url.Url)
                .FirstOrDefault(url => url.Contains("/login", StringComparison.Ordinal)) ?? "none"
            : "none";
}
