using System.Net.Sockets;
using Aspire.Hosting.Local;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Aspire.Hosting;

/// <summary>Adds Postgres servers and their databases.</summary>
public static class PostgresBuilderExtensions
{
    public static IResourceBuilder<PostgresServerResource> AddPostgres(
        this IDistributedApplicationBuilder builder,
        string name,
        IResourceBuilder<ParameterResource>? userName = null,
        IResourceBuilder<ParameterResource>? password = null,
        int? port = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        var server = new PostgresServerResource(
            name,
            userName?.Resource,
            password?.Resource
                ?? ParameterResourceBuilderExtensions.CreateDefaultPasswordParameter(builder, $"{name}-password"));
        var key = $"{name}_check";
        builder.Services.AddHealthChecks().Add(
            new HealthCheckRegistration(
                key, _ => new PostgresHealthCheck(server), null, null, EngineLimits.HealthCheckTimeout));
        return builder.AddResource(server)
            .WithAnnotation(new ContainerImageAnnotation { Image = "library/postgres" })
            .WithAnnotation(new EndpointAnnotation(
                ProtocolType.Tcp, name: PostgresServerResource.PrimaryEndpointName, port: port, targetPort: 5432))
            .WithHealthCheck(key)
            .OnResourceReady((resource, _, token) => PostgresDatabases.CreateMissingAsync(resource, token));
    }

    /// <summary>The database is named like the resource unless <paramref name="databaseName"/> is given.</summary>
    public static IResourceBuilder<PostgresDatabaseResource> AddDatabase(
        this IResourceBuilder<PostgresServerResource> builder, string name, string? databaseName = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        var database = new PostgresDatabaseResource(name, databaseName ?? name, builder.Resource);
        builder.Resource.AddDatabase(name, database.DatabaseName);
        return builder.ApplicationBuilder.AddResource(database);
    }

    /// <summary>Keeps the server's data in a folder of the host.</summary>
    public static IResourceBuilder<PostgresServerResource> WithDataBindMount(
        this IResourceBuilder<PostgresServerResource> builder, string source, bool isReadOnly = false) =>
        builder.WithBindMount(source, PostgresRecipe.ContainerDataPath, isReadOnly);
}
