namespace Broker.AppHost.Publishing;

/// <summary>
/// What a resource needs where the system is published, beside what the model says of it anyway. Without effect on a
/// system that runs here.
/// </summary>
internal static class PublishedResource
{
    /// <summary>
    /// The home folder of the user that the images run as. It is in the image and belongs to that user, so a new
    /// volume there does too; a folder that is not in the image would belong to root.
    /// </summary>
    private const string Home = "/home/app";

    /// <summary>A folder for what the service must not lose, named by this environment variable.</summary>
    public static IResourceBuilder<ProjectResource> WithDataFolder(
        this IResourceBuilder<ProjectResource> service, string variable, Settings settings)
    {
        var name = service.Resource.Name;
        return settings.IsPublishing
            ? service.WithEnvironment(variable, $"{Home}/data").WithAnnotation(
                new ContainerMountAnnotation($"{name}-data", Home, ContainerMountType.Volume, isReadOnly: false))
            : service.WithEnvironment(variable, settings.Folder(name));
    }

    /// <summary>
    /// In a container a service must listen beyond localhost. It refuses that without AllowInsecure, which holds
    /// because nothing outside reaches it: no endpoint is external, and compose opens ports to its own machine only.
    /// </summary>
    public static IResourceBuilder<ProjectResource> ListenBeyondLocalhost(
        this IResourceBuilder<ProjectResource> service, string grpcHostVariable) => service
        .WithEnvironment("AllowInsecure", "true")
        .WithEnvironment(grpcHostVariable, "*");

    /// <summary>The port of the machine that runs compose at which this endpoint can be reached from there.</summary>
    public static IResourceBuilder<T> WithHostPort<T>(this IResourceBuilder<T> resource, string endpoint, int port)
        where T : IResourceWithEndpoints => resource.WithAnnotation(new HostPortAnnotation(endpoint, port));
}

internal sealed record HostPortAnnotation(string Endpoint, int Port) : IResourceAnnotation;
