namespace Broker.AppHost.Publishing;

/// <summary>
/// What a resource needs where the system is published, beside what the model says of it anyway. Without effect on a
/// system that runs here.
/// </summary>
internal static class PublishedResource
{
    /// <summary>The port of the machine that runs compose at which this endpoint can be reached from there.</summary>
    public static IResourceBuilder<T> WithHostPort<T>(this IResourceBuilder<T> resource, string endpoint, int port)
        where T : IResourceWithEndpoints => resource.WithAnnotation(new HostPortAnnotation(endpoint, port));
}

internal sealed record HostPortAnnotation(string Endpoint, int Port) : IResourceAnnotation;
