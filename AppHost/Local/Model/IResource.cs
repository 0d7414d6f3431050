namespace Aspire.Hosting.ApplicationModel;

/// <summary>A part of the application: a process, a database, a parameter.</summary>
public interface IResource
{
    /// <summary>The name, unique in the application; also its host name for service discovery.</summary>
    string Name { get; }

    /// <summary>What is known about the resource beside its name.</summary>
    ResourceAnnotationCollection Annotations { get; }
}
