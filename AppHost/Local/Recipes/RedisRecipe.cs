namespace Aspire.Hosting.Local;

/// <summary>
/// redis-server with a configuration of its own. Nothing is saved: Redis carries live messages, the truth is
/// elsewhere.
/// </summary>
internal sealed class RedisRecipe(RedisResource resource, DataRoot root) : LaunchRecipe
{
    public override async Task<LaunchPlan> PrepareAsync(LaunchInput input, CancellationToken cancellationToken)
    {
        var program = Executables.Find("redis-server", "redis-server");
        var folder = root.FolderOf(resource.Name);
        Directory.CreateDirectory(folder);

        // In a file, because the arguments of a process can be read by everybody on the machine.
        var file = Path.Combine(folder, "redis.conf");
        DataRoot.WritePrivate(file, $"""
            bind 127.0.0.1 -::1
            port {resource.PrimaryEndpoint.Port}
            requirepass {await resource.PasswordParameter!.GetValueAsync(cancellationToken)}
            dir "{folder}"
            save ""
            appendonly no
            daemonize no

            """);
        return new LaunchPlan
        {
            FileName = program,
            Arguments = [file, .. input.Arguments],
            Environment = input.Environment,
            WorkingDirectory = folder,
        };
    }
}
