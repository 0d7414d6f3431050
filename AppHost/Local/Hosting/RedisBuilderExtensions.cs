using System.Net.Sockets;
using Aspire.Hosting.Local;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Aspire.Hosting;

/// <summary>Adds Redis servers.</summary>
public static class RedisBuilderExtensions
{
    public static IResourceBuilder<RedisResource> AddRedis(
        this IDistributedApplicationBuilder builder,
        string name,
        int? port = null,
        IResourceBuilder<ParameterResource>? password = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        var redis = new RedisResource(
            name,
            password?.Resource
                ?? ParameterResourceBuilderExtensions.CreateDefaultPasswordParameter(builder, $"{name}-password"));
        var key = $"{name}_check";
        builder.Services.AddHealthChecks().Add(
            new HealthCheckRegistration(
                key, _ => new RedisHealthCheck(redis), null, null, EngineLimits.HealthCheckTimeout));
        return builder.AddResource(redis)
            .WithAnnotation(new ContainerImageAnnotation { Image = "library/redis" })
            .WithAnnotation(new EndpointAnnotation(
                ProtocolType.Tcp, name: RedisResource.PrimaryEndpointName, port: port, targetPort: 6379))
            .WithHealthCheck(key);
    }
}
