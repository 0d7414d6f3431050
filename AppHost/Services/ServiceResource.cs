using Broker.Hosting;

namespace Broker.AppHost.Services;

/// <summary>
/// What the publisher and the subscriber have in common. What they have with the brokers is in
/// Hosting/ServiceProcess.cs.
/// </summary>
internal static class ServiceResource
{
    /// <summary>A service with the endpoints `http` and `grpc`.</summary>
    /// <param name="builder">The system.</param>
    /// <param name="name">The service's name, for people and for service discovery.</param>
    /// <param name="grpcPort">The environment variable that tells the service its port for gRPC.</param>
    public static IResourceBuilder<ProjectResource> AddService<TProject>(
        this IDistributedApplicationBuilder builder, string name, string grpcPort)
        where TProject : IProjectMetadata, new()
    {
        var service = builder.AddProject<TProject>(name, launchProfileName: null)
            .WithServiceEndpoints(grpcPort)
            .WithoutHttpsCertificate();
        return builder.ExecutionContext.IsPublishMode
            ? service.ListenBeyondLocalhost(grpcPort.Replace("Port", "Host", StringComparison.Ordinal))
            : service.RunAsProcess().RunBuiltProgram();
    }
}
