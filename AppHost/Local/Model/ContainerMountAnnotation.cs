namespace Aspire.Hosting.ApplicationModel;

/// <summary>A folder of the host, or a named volume, that a container sees at <see cref="Target"/>.</summary>
public sealed class ContainerMountAnnotation(string? source, string target, ContainerMountType type, bool isReadOnly)
    : IResourceAnnotation
{
    public string? Source { get; } = source;

    public string Target { get; } = target;

    public ContainerMountType Type { get; } = type;

    public bool IsReadOnly { get; } = isReadOnly;
}
