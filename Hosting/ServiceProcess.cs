using System.Reflection;
using System.Runtime.InteropServices;
using Aspire.Hosting;
using Aspire.Hosting.ApplicationModel;

namespace Broker.Hosting;

/// <summary>What all services of Broker.Aspire have in common, the brokers and others.</summary>
internal static class ServiceProcess
{
    private const int PublishedHttpPort = 8080;
    private const int PublishedGrpcPort = 8081;

    /// <summary>
    /// HTTP/1.1 and HTTP/2 without TLS cannot share a port, so every service has two: `http` and `grpc`. Neither goes
    /// through the orchestrator's proxy: it would carry all traffic between the brokers, and it goes on accepting
    /// connections for a service that has died.
    /// </summary>
    /// <param name="service">The service.</param>
    /// <param name="grpcPort">The environment variable that tells the service its port for gRPC.</param>
    public static IResourceBuilder<T> WithServiceEndpoints<T>(this IResourceBuilder<T> service, string grpcPort)
        where T : IResourceWithEndpoints, IResourceWithEnvironment
    {
        var publishing = service.ApplicationBuilder.ExecutionContext.IsPublishMode;
        return service
            .WithHttpEndpoint(name: "http", targetPort: publishing ? PublishedHttpPort : null, isProxied: false)
            .WithHttpEndpoint(
                name: "grpc", targetPort: publishing ? PublishedGrpcPort : null, env: grpcPort, isProxied: false)
            .WithEndpoint("grpc", static endpoint => endpoint.Transport = "http2")
            .WithUrlForEndpoint("http", static url => url.DisplayText = "http")
            .WithUrlForEndpoint("grpc", static url => url.DisplayText = "grpc")
            .WithHttpHealthCheck("/health", endpointName: "http")
            .WithEnvironment("ASPNETCORE_ENVIRONMENT", service.ApplicationBuilder.Environment.EnvironmentName);
    }

    /// <summary>
    /// In a container a service must listen beyond localhost. It refuses that without AllowInsecure, which holds
    /// because nothing outside reaches it: no endpoint is external, and compose opens ports to its own machine only.
    /// </summary>
    public static IResourceBuilder<T> ListenBeyondLocalhost<T>(
        this IResourceBuilder<T> service, params string[] hostVariables)
        where T : IResourceWithEnvironment
    {
        foreach (var variable in hostVariables)
        {
            service.WithEnvironment(variable, "*");
        }

        return service.WithEnvironment("AllowInsecure", "true");
    }

    /// <summary>What a service on this machine is told, and its buttons.</summary>
    public static IResourceBuilder<T> RunAsProcess<T>(this IResourceBuilder<T> service)
        where T : IResourceWithEndpoints, IResourceWithEnvironment => service

        // The dashboard ends with the services: without this they would wait for it longer than the orchestrator
        // waits for them, which then kills them.
        .WithEnvironment("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")

        // Figures are on the dashboard within seconds of their change; by default it would be a minute.
        .WithEnvironment("OTEL_METRIC_EXPORT_INTERVAL", "5000")

        // A check that fails is shown by the dashboard; at every start it would be an error in the log too.
        .WithEnvironment("Logging__LogLevel__Microsoft.Extensions.Diagnostics.HealthChecks", "None")
        .WithFaultCommands()
        .WithHttpCommand(
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

    /// <summary>
    /// Starts the program that was built together with this AppHost, rather than `dotnet run`, which would stand
    /// between: its process id would be shown, and a kill -9 would not reach the service. An IDE starts the project by
    /// itself, under its debugger.
    /// </summary>
    public static IResourceBuilder<ProjectResource> RunBuiltProgram(this IResourceBuilder<ProjectResource> service)
    {
        var builder = service.ApplicationBuilder;
        if (builder.Configuration["DEBUG_SESSION_PORT"] is { Length: > 0 })
        {
            return service;
        }

        var project = service.Resource.GetProjectMetadata().ProjectPath;
        var configuration = typeof(ServiceProcess).Assembly.GetCustomAttribute<AssemblyConfigurationAttribute>()!;
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
