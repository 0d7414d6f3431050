using System.Text.Json;

/// <summary>
/// Writes the folder that Prometheus reads: its configuration, and the addresses of the services to scrape.
/// </summary>
internal static class PrometheusTargets
{
    /// <summary>
    /// The addresses are as <paramref name="reader"/> sees them: from inside a container the host has another name.
    /// </summary>
    public static async Task WriteAsync(
        string configuration,
        string folder,
        IReadOnlyList<IResourceBuilder<ProjectResource>> services,
        IResource reader,
        CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(folder);
        File.Copy(configuration, Path.Combine(folder, "prometheus.yml"), overwrite: true);

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
