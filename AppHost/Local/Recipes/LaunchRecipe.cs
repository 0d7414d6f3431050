namespace Aspire.Hosting.Local;

/// <summary>Knows how a kind of resource becomes a process.</summary>
internal abstract class LaunchRecipe
{
    /// <summary>Null for a resource that is no process, such as a parameter or a database.</summary>
    public static LaunchRecipe? For(IResource resource, DataRoot root) => resource switch
    {
        ProjectResource project => new ProjectRecipe(project),
        RedisResource redis => new RedisRecipe(redis, root),
        PostgresServerResource postgres => new PostgresRecipe(postgres, root),
        ContainerResource container => new ContainerRecipe(container, root),
        ExecutableResource executable => new ExecutableRecipe(executable),
        _ => null,
    };

    /// <summary>Makes folders and files ready, and says what to start. Runs before every start.</summary>
    public abstract Task<LaunchPlan> PrepareAsync(LaunchInput input, CancellationToken cancellationToken);
}
