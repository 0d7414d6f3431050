namespace Broker.AppHost.Services;

internal static class LoadTests
{
    private static readonly string[] Scripts = ["smoke", "load", "stress", "soak"];

    /// <summary>
    /// The scripts of Tests/k6 as resources that wait for their Start button, where the program k6 is on the PATH.
    /// </summary>
    public static void AddLoadTests(
        this IDistributedApplicationBuilder builder,
        IResourceBuilder<ProjectResource> publisher,
        IResourceBuilder<ProjectResource> subscriber,
        IResourceBuilder<IResourceWithEndpoints> broker)
    {
        if (builder.ExecutionContext.IsPublishMode || FindK6() is not { } program)
        {
            return;
        }

        var folder = Path.Combine(builder.AppHostDirectory, "..", "Tests", "k6");
        foreach (var script in Scripts)
        {
            builder.AddExecutable($"k6-{script}", program, folder, "run", $"{script}.js")
                .WithEnvironment("PUBLISHER_HTTP", publisher.GetEndpoint("http"))
                .WithEnvironment("PUBLISHER_GRPC", HostAndPort(publisher))
                .WithEnvironment("SUBSCRIBER_HTTP", subscriber.GetEndpoint("http"))
                .WithEnvironment("BROKER_GRPC", HostAndPort(broker))
                .WithIconName("Gauge")
                .WithExplicitStart();
        }
    }

    private static ReferenceExpression HostAndPort(IResourceBuilder<IResourceWithEndpoints> service) =>
        ReferenceExpression.Create($"{service.GetEndpoint("grpc").Property(EndpointProperty.HostAndPort)}");

    private static string? FindK6() => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
        .Select(folder => Path.Combine(folder, OperatingSystem.IsWindows() ? "k6.exe" : "k6"))
        .FirstOrDefault(File.Exists);
}
