using Microsoft.Extensions.DependencyInjection;

namespace Broker.AppHost.Resources;

internal static class RedisServer
{
    /// <summary>Redis in a container, or else as a process.</summary>
    public static IResourceBuilder<IResourceWithConnectionString> AddRedisServer(
        this IDistributedApplicationBuilder builder, string name, Settings settings)
    {
        var password = builder.AddStoredPassword($"{name}-password", settings);
        if (settings.UseContainers)
        {
            var container = builder.AddRedis(name, password: password).WithoutHttpsCertificate();

            // azd knows the schemes tcp, http and https alone, and refuses a manifest with another one.
            return settings.IsPublishing ? container.WithEndpoint("tcp", tcp => tcp.UriScheme = "tcp") : container;
        }

        var redis = new RedisProcess(name, settings.Folder(name), password.Resource);
        string? connectionString = null;
        builder.Services.AddHealthChecks().AddRedis(_ => connectionString!, $"{name}_check");
        return builder.AddResource(redis)
            .WithEndpoint(name: "tcp", scheme: "redis", isProxied: false)
            .WithArgs("redis.conf")
            .WithIconName("Database")
            .WithHealthCheck($"{name}_check")
            .WithFaultCommands()
            .OnConnectionStringAvailable(async (resource, _, token) =>
                connectionString = await resource.ConnectionStringExpression.GetValueAsync(token))
            .OnBeforeResourceStarted((resource, _, token) => resource.WriteConfigurationAsync(token));
    }

    /// <summary>redis-server. It saves nothing: Redis carries live messages, the truth is elsewhere.</summary>
    private sealed class RedisProcess(string name, string folder, ParameterResource password)
        : ExecutableResource(name, Programs.Find("redis-server", package: "redis-server"), folder),
        IResourceWithConnectionString
    {
        public ReferenceExpression ConnectionStringExpression =>
            ReferenceExpression.Create($"{Tcp.Property(EndpointProperty.HostAndPort)},password={password}");

        private EndpointReference Tcp => new(this, "tcp");

        /// <summary>In a file, because the arguments of a process can be read by everybody on the machine.</summary>
        public async Task WriteConfigurationAsync(CancellationToken cancellationToken)
        {
            Directory.CreateDirectory(WorkingDirectory);
            Secrets.WriteFile(Path.Combine(WorkingDirectory, "redis.conf"), $"""
                bind 127.0.0.1 -::1
                port {Tcp.Port}
                requirepass {await password.GetValueAsync(cancellationToken)}
                save ""
                appendonly no

                """);
        }
    }
}
