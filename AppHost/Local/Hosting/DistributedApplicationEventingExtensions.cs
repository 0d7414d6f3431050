namespace Aspire.Hosting;

/// <summary>Runs code at moments in the life of a resource.</summary>
public static class DistributedApplicationEventingExtensions
{
    /// <summary>The resource starts when the callback is done.</summary>
    public static IResourceBuilder<T> OnBeforeResourceStarted<T>(
        this IResourceBuilder<T> builder, Func<T, BeforeResourceStartedEvent, CancellationToken, Task> callback)
        where T : IResource
    {
        builder.ApplicationBuilder.Eventing.Subscribe<BeforeResourceStartedEvent>(
            builder.Resource, (e, token) => callback(builder.Resource, e, token));
        return builder;
    }

    /// <summary>Those that wait for the resource go on when the callback is done.</summary>
    public static IResourceBuilder<T> OnResourceReady<T>(
        this IResourceBuilder<T> builder, Func<T, ResourceReadyEvent, CancellationToken, Task> callback)
        where T : IResource
    {
        builder.ApplicationBuilder.Eventing.Subscribe<ResourceReadyEvent>(
            builder.Resource, (e, token) => callback(builder.Resource, e, token));
        return builder;
    }
}
