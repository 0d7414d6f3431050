using System.Text.Json;
using Broker.AppHost.Publishing;

namespace Broker.AppHost.Resources;

internal static class PrometheusServer
{
    private const string Image = "prom/prometheus";

    /// <summary>The latest of the long-term support line.</summary>
    private const string Tag = "v3.5.0";

    /// <summary>Prometheus in a container, or else as a process. It reads the /metrics of these services.</summary>
    public static void AddPrometheusServer(
        this IDistributedApplicationBuilder builder,
        string name,
        Settings settings,
        IReadOnlyList<IResourceBuilder<IResourceWithEndpoints>> services)
    {
        var sources = Path.Combine(builder.AppHostDirectory, "..", "deploy", "prometheus");
        if (settings.IsPublishing)
        {
            builder.AddPublishedPrometheus(name, Image, Tag, Path.Combine(sources, "prometheus.yml"), services)
                .WithHostPort("http", 9090);
            return;
        }

        var folder = Path.Combine(settings.Folder(name), "config");
        if (!settings.UseContainers)
        {
            var program = Programs.Find("prometheus", package: "prometheus");
            Configure(builder.AddExecutable(name, program, settings.Folder(name)))
                .WithHttpEndpoint(name: "http", isProxied: false)
                .WithHttpHealthCheck("/-/healthy")
                .WithFaultCommands()
                .WithArgs($"--config.file={folder}/prometheus.yml", "--storage.tsdb.path=data")
                .WithArgs(context =>
                {
                    var http = ((IResourceWithEndpoints)context.Resource).GetEndpoint("http");
                    context.Args.Add(ReferenceExpression.Create(
                        $"--web.listen-address=localhost:{http.Property(EndpointProperty.TargetPort)}"));
                })
                .OnBeforeResourceStarted((resource, _, token) => WriteTargetsAsync(folder, services, resource, token));
            return;
        }

        var container = Configure(builder.AddContainer(name, Image, Tag))
            .WithBindMount(folder, "/etc/prometheus")
            .WithArgs("--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus")
            .WithHttpEndpoint(targetPort: 9090, name: "http")
            .WithHttpHealthCheck("/-/healthy");

        // A volume and no folder: Prometheus runs there as a user that does not own our folders.
        container.WithVolume(VolumeNameGenerator.Generate(container, "data"), "/prometheus");

        // The references make the services reachable from a container, at addresses that are known when all has been
        // started. Prometheus looks at the file again and again.
        foreach (var service in services)
        {
            container.WithReference(service.GetEndpoint("http"));
        }

        builder.Eventing.Subscribe<AfterResourcesCreatedEvent>(
            (_, token) => WriteTargetsAsync(folder, services, container.Resource, token));

        IResourceBuilder<T> Configure<T>(IResourceBuilder<T> prometheus)
            where T : IResource => prometheus
            .WithIconName("TopSpeed")
            .OnBeforeResourceStarted((_, _, _) =>
            {
                Directory.CreateDirectory(folder);
                File.Copy(
                    Path.Combine(sources, "prometheus.yml"), Path.Combine(folder, "prometheus.yml"), overwrite: true);
                return Task.CompletedTask;
            });
    }

    /// <summary>
    /// Writes the addresses of the services as the reader sees them: from inside a container the host has another name.
    /// </summary>
    private static async Task WriteTargetsAsync(
        string folder,
        IReadOnlyList<IResourceBuilder<IResourceWithEndpoints>> services,
        IResource reader,
        CancellationToken cancellationToken)
    {
        // [{"targets":["localhost:20001"],"labels":{"instance":"broker-1"}}]
        var groups = new List<object>();
        foreach (var service in services)
        {
            var address = await service.GetEndpoint("http").Property(EndpointProperty.HostAndPort)
                .GetValueAsync(new ValueProviderContext { Caller = reader }, cancellationToken);
            groups.Add(new
            {
                targets = new[] { address },
                labels = new Dictionary<string, string> { ["instance"] = service.Resource.Name },
            });
        }

        await File.WriteAllTextAsync(
            Path.Combine(folder, "targets.json"), JsonSerializer.Serialize(groups), cancellationToken);
    }
}
