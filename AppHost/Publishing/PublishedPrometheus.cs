using System.Text.RegularExpressions;
using YamlDotNet.Serialization;

namespace Broker.AppHost.Publishing;

/// <summary>
/// Prometheus where the system is published. There is no folder of this machine there, so its configuration travels in
/// an environment variable: deploy/prometheus/prometheus.yml with the services' addresses in it.
/// </summary>
internal static partial class PublishedPrometheus
{
    private const string Variable = "PROMETHEUS_CONFIGURATION";
    private const string DataFolder = "/prometheus";

    public static IResourceBuilder<ContainerResource> AddPublishedPrometheus(
        this IDistributedApplicationBuilder builder,
        string name,
        string image,
        string tag,
        string configurationFile,
        IReadOnlyList<IResourceBuilder<IResourceWithEndpoints>> services) => builder
        .AddContainer(name, image, tag)
        .WithEntrypoint("/bin/sh")
        .WithArgs(
            "-c",
            $"printf '%s' \"${Variable}\" > {DataFolder}/prometheus.yml && exec /bin/prometheus "
            + $"--config.file={DataFolder}/prometheus.yml --storage.tsdb.path={DataFolder}")
        .WithEnvironment(Variable, Configuration(File.ReadAllText(configurationFile), services))
        .WithVolume($"{name}-data", DataFolder)
        .WithHttpEndpoint(targetPort: 9090, name: "http");

    /// <summary>
    /// The file names its targets by another file, which here they replace: one group for each service, as there.
    /// </summary>
    private static ReferenceExpression Configuration(
        string text, IReadOnlyList<IResourceBuilder<IResourceWithEndpoints>> services)
    {
        var configuration = new DeserializerBuilder().Build().Deserialize<Dictionary<string, object>>(text);
        foreach (var job in ((List<object>)configuration["scrape_configs"]).Cast<Dictionary<object, object>>())
        {
            job.Remove("file_sd_configs");
            job["static_configs"] = services.Select(service => service.Resource.Name).Select(name => new
            {
                targets = (string[])[$"<{name}>"],
                labels = new Dictionary<string, string> { ["instance"] = name },
            }).ToList();
        }

        // Text and names take turns: "... targets:\n - <", "broker-1", ">\n ...".
        var expression = new ReferenceExpressionBuilder();
        foreach (var (index, part) in Target().Split(new SerializerBuilder().Build().Serialize(configuration)).Index())
        {
            if (index % 2 == 0)
            {
                expression.AppendLiteral(part);
                continue;
            }

            var address = services.Single(service => service.Resource.Name == part).GetEndpoint("http");
            expression.Append($"{address.Property(EndpointProperty.HostAndPort)}");
        }

        return expression.Build();
    }

    [GeneratedRegex("<([a-z0-9-]+)>")]
    private static partial Regex Target();
}
