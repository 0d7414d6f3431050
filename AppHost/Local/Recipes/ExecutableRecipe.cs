namespace Aspire.Hosting.Local;

/// <summary>Any program.</summary>
internal sealed class ExecutableRecipe(ExecutableResource resource) : LaunchRecipe
{
    public override Task<LaunchPlan> PrepareAsync(LaunchInput input, CancellationToken cancellationToken) =>
        Task.FromResult(
        new LaunchPlan
        {
            FileName = Executables.TryFind(resource.Command) ?? throw new DistributedApplicationException(
                $"The program '{resource.Command}' of the resource '{resource.Name}' is not installed."),
            Arguments = input.Arguments,
            Environment = input.Environment,
            WorkingDirectory = resource.WorkingDirectory,
        });
}
