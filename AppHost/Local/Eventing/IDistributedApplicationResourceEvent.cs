namespace Aspire.Hosting.Eventing;

/// <summary>A moment in the life of a resource.</summary>
public interface IDistributedApplicationResourceEvent : IDistributedApplicationEvent
{
    IResource Resource { get; }
}
