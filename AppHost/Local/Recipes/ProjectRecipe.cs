using System.Reflection;

namespace Aspire.Hosting.Local;

/// <summary>A project of the solution: the assembly that the AppHost's own build has made of it.</summary>
internal sealed class ProjectRecipe(ProjectResource resource) : LaunchRecipe
{
    public override Task<LaunchPlan> PrepareAsync(LaunchInput input, CancellationToken cancellationToken)
    {
        if (!resource.TryGetLastAnnotation<IProjectMetadata>(out var metadata))
        {
            throw new DistributedApplicationException($"The resource '{resource.Name}' has no project.");
        }

        var assembly = OutputOf(metadata);
        if (!File.Exists(assembly))
        {
            throw new DistributedApplicationException($"{assembly} is missing: build the AppHost again.");
        }

        var environment = new Dictionary<string, string>(input.Environment);
        AddDefaults(environment);
        return Task.FromResult(new LaunchPlan
        {
            FileName = FindDotnet(),
            Arguments = ["exec", assembly, .. input.Arguments],
            Environment = environment,
            WorkingDirectory = Path.GetDirectoryName(metadata.ProjectPath)!,
        });
    }

    // The build writes, beside each class in Projects, where the output of its project is.
    private static string OutputOf(IProjectMetadata metadata) =>
        metadata.GetType().Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
            .FirstOrDefault(a => a.Key == $"output:{metadata.ProjectPath}")?.Value
        ?? throw new DistributedApplicationException(
            $"The build has not recorded the output of {metadata.ProjectPath}.");

    // The dotnet that runs the AppHost is the one that built the projects.
    private static string FindDotnet()
    {
        var own = Environment.ProcessPath;
        return Path.GetFileNameWithoutExtension(own) == "dotnet"
            ? own!
            : Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? Executables.Find("dotnet", "dotnet-sdk-10.0");
    }

    private void AddDefaults(Dictionary<string, string> environment)
    {
        var urls = resource.Annotations.OfType<EndpointAnnotation>()
            .Where(e => e.UriScheme is "http" or "https" && e.TargetPortEnvironmentVariable is null)
            .Select(e => e.AllocatedEndpoint!.UriString);
        environment.TryAdd("ASPNETCORE_URLS", string.Join(';', urls));
        environment.TryAdd("OTEL_SERVICE_NAME", resource.Name);
        environment.TryAdd("OTEL_RESOURCE_ATTRIBUTES", $"service.instance.id={resource.Name}-{Guid.NewGuid():N}");
    }
}
