namespace Aspire.Hosting.ApplicationModel;

/// <summary>A resource that this one refers to.</summary>
public sealed class ResourceRelationshipAnnotation(IResource resource, string type) : IResourceAnnotation
{
    public IResource Resource { get; } = resource;

    public string Type { get; } = type;
}
