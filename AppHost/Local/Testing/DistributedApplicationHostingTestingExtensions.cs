using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace Aspire.Hosting.Testing;

/// <summary>Finds the resources of a started application.</summary>
public static class DistributedApplicationHostingTestingExtensions
{
    /// <summary>A client of an HTTP endpoint; of <c>https</c> or <c>http</c> when no name is given.</summary>
    public static HttpClient CreateHttpClient(
        this DistributedApplication app, string resourceName, string? endpointName = default)
    {
        var address = app.GetEndpoint(resourceName, endpointName);
        var client = app.Services.GetRequiredService<IHttpClientFactory>().CreateClient();
        client.BaseAddress = address;
        return client;
    }

    public static ValueTask<string?> GetConnectionStringAsync(
        this DistributedApplication app, string resourceName, CancellationToken cancellationToken = default) =>
        GetResource(app, resourceName) is IResourceWithConnectionString resource
            ? resource.GetConnectionStringAsync(cancellationToken)
            : throw new ArgumentException(
                $"The resource '{resourceName}' has no connection string.", nameof(resourceName));

    public static Uri GetEndpoint(this DistributedApplication app, string resourceName, string? endpointName = default)
    {
        var resource = GetResource(app, resourceName) as IResourceWithEndpoints;
        string[] names = endpointName is null ? ["https", "http"] : [endpointName];
        var endpoint = resource is null
            ? null
            : names.Select(resource.GetEndpoint).FirstOrDefault(e => e.IsAllocated);
        return endpoint is null
            ? throw new ArgumentException(
                $"The resource '{resourceName}' has no endpoint '{string.Join("' or '", names)}'.",
                nameof(endpointName))
            : new Uri(endpoint.Url);
    }

    private static IResource GetResource(DistributedApplication app, string resourceName)
    {
        ArgumentNullException.ThrowIfNull(app);
        if (!app.Services.GetRequiredService<IHostApplicationLifetime>().ApplicationStarted.IsCancellationRequested)
        {
            throw new InvalidOperationException("Start the application first: its addresses are not known before.");
        }

        return app.Services.GetRequiredService<DistributedApplicationModel>().Resources
            .TryGetByName(resourceName, out var resource)
            ? resource
            : throw new ArgumentException($"There is no resource '{resourceName}'.", nameof(resourceName));
    }
}
