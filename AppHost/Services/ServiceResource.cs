using System.Reflection;
using System.Runtime.InteropServices;
using Broker.AppHost.Publishing;

namespace Broker.AppHost.Services;

/// <summary>What the brokers, the publisher and the subscriber have in common.</summary>
internal static class ServiceResource
{
    /// <summary>
    /// HTTP/1.1 and HTTP/2 without TLS cannot share a port, so every service has two: `http` and `grpc`. Neither goes
    /// through the orchestrator's proxy: it would carry all traffic between the brokers, and it goes on accepting
    /// connections for a service that has died.
    /// </summary>
    /// <param name="builder">The system.</param>
    /// <param name="name">The service's name, for people and for service discovery.</param>
    /// <param name="grpcPort">The environment variable that tells the service its port for gRPC.</param>
    public static IResourceBuilder<ProjectResource> AddService<TProject>(
        this IDistributedApplicationBuilder builder, string name, string grpcPort)
        where TProject : IProjectMetadata, new()
    {
        var publishing = builder.ExecutionContext.IsPublishMode;
        var service = builder.AddProject<TProject>(name, launchProfileName: null)
            .WithHttpEndpoint(name: "http", targetPort: publishing ? 8080 : null, isProxied: false)
            .WithHttpEndpoint(name: "grpc", targetPort: publishing ? 8081 : null, env: grpcPort, isProxied: false)
            .WithEndpoint("grpc", endpoint => endpoint.Transport = "http2")
            .WithUrlForEndpoint("http", url => url.DisplayText = "http")
            .WithUrlForEndpoint("grpc", url => url.DisplayText = "grpc")
            .WithHttpHealthCheck("/health", endpointName: "http")
            .WithoutHttpsCertificate()
            .WithEnvironment("ASPNETCORE_ENVIRONMENT", builder.Environment.EnvironmentName);
        if (publishing)
        {
            return service.ListenBeyondLocalhost(grpcPort.Replace("Port", "Host", StringComparison.Ordinal));
        }

        return service.RunBuiltProgram().WithFaultCommands().WithHttpCommand(
            "/alive",
            "Probe",
            endpointName: "http",
            commandName: "probe",
            commandOptions: new HttpCommandOptions
            {
                Description = "Asks the process whether it is alive.",
                Method = HttpMethod.Get,
                ResultMode = HttpCommandResultMode.Text,
                IconName = "Stethoscope",
            });
    }

    /// <summary>
    /// The port at which the brokers reach each other. It is no business of the host, nor of anybody else.
    /// </summary>
    public static IResourceBuilder<ProjectResource> WithPeerEndpoint(
        this IResourceBuilder<ProjectResource> service, string peerPort)
    {
        var publishing = service.ApplicationBuilder.ExecutionContext.IsPublishMode;
        service
            .WithHttpEndpoint(name: "peer", targetPort: publishing ? 8082 : null, env: peerPort, isProxied: false)
            .WithEndpoint("peer", static endpoint => endpoint.Transport = "http2")
            .WithUrlForEndpoint("peer", static url => url.DisplayLocation = UrlDisplayLocation.DetailsOnly);
        return publishing
            ? service.ListenBeyondLocalhost(peerPort.Replace("Port", "Host", StringComparison.Ordinal))
            : service;
    }

    /// <summary>
    /// Starts the program that was built together with this AppHost, rather than `dotnet run`, which would stand
    /// between: its process id would be shown, and a kill -9 would not reach the service. An IDE starts the project by
    /// itself, under its debugger.
    /// </summary>
    private static IResourceBuilder<ProjectResource> RunBuiltProgram(this IResourceBuilder<ProjectResource> service)
    {
        // The dashboard ends with the services: without this they would wait for it longer than the orchestrator
        // waits for them, which then kills them.
        service.WithEnvironment("OTEL_EXPORTER_OTLP_TIMEOUT", "1000");

        // Figures are on the dashboard within seconds of their change; by default it would be a minute.
        service.WithEnvironment("OTEL_METRIC_EXPORT_INTERVAL", "5000");

        // A check that fails is shown by the dashboard; at every start it would be an error in the log too.
        service.WithEnvironment("Logging__LogLevel__Microsoft.Extensions.Diagnostics.HealthChecks", "None");
        if (service.ApplicationBuilder.Configuration["DEBUG_SESSION_PORT"] is { Length: > 0 })
        {
            return service;
        }

        var project = service.Resource.GetProjectMetadata().ProjectPath;
        var configuration = typeof(ServiceResource).Assembly.GetCustomAttribute<AssemblyConfigurationAttribute>()!;
        var framework = $"net{Environment.Version.ToString(2)}";
        var folder = Path.Combine(Path.GetDirectoryName(project)!, "bin", configuration.Configuration, framework);
        return service

            // The program finds its runtime by this also where it is installed in a home folder.
            .WithEnvironment("DOTNET_ROOT", Path.GetFullPath("../../..", RuntimeEnvironment.GetRuntimeDirectory()))
            .WithAnnotation(new ExecutableAnnotation
            {
                Command = Path.Combine(folder, Path.GetFileNameWithoutExtension(project)),
                WorkingDirectory = Path.GetDirectoryName(project)!,
            });
    }
}
