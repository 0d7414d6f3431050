namespace Aspire.Hosting;

/// <summary>Adds programs of the machine.</summary>
public static class ExecutableResourceBuilderExtensions
{
    /// <summary>The working directory is relative to the AppHost's folder.</summary>
    public static IResourceBuilder<ExecutableResource> AddExecutable(
        this IDistributedApplicationBuilder builder,
        string name,
        string command,
        string workingDirectory,
        params string[]? args)
    {
        var folder = Path.GetFullPath(workingDirectory, builder.AppHostDirectory);
        return builder.AddResource(new ExecutableResource(name, command, folder)).WithArgs(args ?? []);
    }
}
