using System.Globalization;
using System.Net.Sockets;
using Aspire.Hosting.Local;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Aspire.Hosting;

/// <content>Endpoints and health checks.</content>
public static partial class ResourceBuilderExtensions
{
    /// <summary>Changes an endpoint that was added before, or adds it.</summary>
    public static IResourceBuilder<T> WithEndpoint<T>(
        this IResourceBuilder<T> builder,
        string endpointName,
        Action<EndpointAnnotation> callback,
        bool createIfNotExists = true)
        where T : IResourceWithEndpoints
    {
        ArgumentNullException.ThrowIfNull(callback);
        var endpoint = builder.Resource.Annotations.OfType<EndpointAnnotation>()
            .FirstOrDefault(e => e.Name == endpointName);
        if (endpoint is null)
        {
            if (!createIfNotExists)
            {
                return builder;
            }

            endpoint = new EndpointAnnotation(ProtocolType.Tcp, name: endpointName);
            builder.WithAnnotation(endpoint);
        }

        callback(endpoint);
        return builder;
    }

    /// <summary>
    /// Adds a port. With <paramref name="env"/> the resource is told the port in that variable and binds it itself;
    /// otherwise a project is told in ASPNETCORE_URLS.
    /// </summary>
    public static IResourceBuilder<T> WithEndpoint<T>(
        this IResourceBuilder<T> builder,
        int? port = null,
        int? targetPort = null,
        string? scheme = null,
        string? name = null,
        string? env = null)
        where T : IResourceWithEndpoints
    {
        var endpoint = new EndpointAnnotation(ProtocolType.Tcp, scheme, transport: null, name, port, targetPort)
        {
            TargetPortEnvironmentVariable = env,
        };
        if (builder.Resource.Annotations.OfType<EndpointAnnotation>().Any(e => e.Name == endpoint.Name))
        {
            throw new DistributedApplicationException(
                $"The resource '{builder.Resource.Name}' already has an endpoint '{endpoint.Name}'.");
        }

        if (env is not null && builder.Resource is IResourceWithEnvironment)
        {
            var reference = new EndpointReference(builder.Resource, endpoint.Name);
            builder.WithAnnotation(new EnvironmentCallbackAnnotation(context =>
            {
                context.EnvironmentVariables[env] = reference.Port.ToString(CultureInfo.InvariantCulture);
                return Task.CompletedTask;
            }));
        }

        return builder.WithAnnotation(endpoint);
    }

    public static IResourceBuilder<T> WithHttpEndpoint<T>(
        this IResourceBuilder<T> builder,
        int? port = null,
        int? targetPort = null,
        string? name = null,
        string? env = null)
        where T : IResourceWithEndpoints => builder.WithEndpoint(port, targetPort, "http", name, env);

    /// <summary>Marks the HTTP endpoints as meant for the outside. A process here always listens on loopback.</summary>
    public static IResourceBuilder<T> WithExternalHttpEndpoints<T>(this IResourceBuilder<T> builder)
        where T : IResourceWithEndpoints
    {
        foreach (var endpoint in builder.Resource.Annotations.OfType<EndpointAnnotation>())
        {
            endpoint.IsExternal |= endpoint.UriScheme is "http" or "https";
        }

        return builder;
    }

    public static EndpointReference GetEndpoint<T>(this IResourceBuilder<T> builder, string name)
        where T : IResourceWithEndpoints => new(builder.Resource, name);

    public static IResourceBuilder<T> WithHealthCheck<T>(this IResourceBuilder<T> builder, string key)
        where T : IResource => builder.WithAnnotation(new HealthCheckAnnotation(key));

    /// <summary>The resource is healthy while a GET of the path answers with the status, 200 when null.</summary>
    public static IResourceBuilder<T> WithHttpHealthCheck<T>(
        this IResourceBuilder<T> builder, string? path = null, int? statusCode = null, string? endpointName = null)
        where T : IResourceWithEndpoints
    {
        var endpoint = new EndpointReference(builder.Resource, endpointName ?? "http");
        var expected = statusCode ?? 200;
        var key = $"{builder.Resource.Name}_{endpoint.EndpointName}_{path ?? "/"}_{expected}_check";
        builder.ApplicationBuilder.Services.AddHealthChecks().Add(new HealthCheckRegistration(
            key,
            _ => new HttpHealthCheck(endpoint, path ?? "/", expected),
            null,
            null,
            EngineLimits.HealthCheckTimeout));
        return builder.WithHealthCheck(key);
    }
}
