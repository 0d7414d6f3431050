namespace Aspire.Hosting;

/// <summary>Where a project of the solution is. The build writes one class for each referenced project.</summary>
public interface IProjectMetadata : IResourceAnnotation
{
    /// <summary>The full path of the project file.</summary>
    string ProjectPath { get; }
}
