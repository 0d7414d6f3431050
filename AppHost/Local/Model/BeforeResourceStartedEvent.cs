using Aspire.Hosting.Eventing;

namespace Aspire.Hosting.ApplicationModel;

/// <summary>A resource is about to start; it starts when all subscribers are done.</summary>
public class BeforeResourceStartedEvent(IResource resource, IServiceProvider services)
    : IDistributedApplicationResourceEvent
{
    public IResource Resource { get; } = resource;

    public IServiceProvider Services { get; } = services;
}
