namespace Aspire.Hosting.ApplicationModel;

/// <summary>Where the content of a mount comes from.</summary>
public enum ContainerMountType
{
    BindMount,
    Volume,
}
