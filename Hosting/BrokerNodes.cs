using System.Globalization;
using Aspire.Hosting;
using Aspire.Hosting.ApplicationModel;

namespace Broker.Hosting;

/// <summary>
/// The nodes of a cluster: programs from the package, containers where the application is published, or a project of
/// this solution. What they are told is the same.
/// </summary>
internal static class BrokerNodes
{
    private const int PublishedPeerPort = 8082;

    /// <summary>
    /// The home folder of the user that the image runs as. It is in the image and belongs to that user, so a new
    /// volume there does too; a folder that is not in the image would belong to root.
    /// </summary>
    private const string Home = "/home/app";

    public static IResourceBuilder<BrokerNodeResource> AddProgram(
        IDistributedApplicationBuilder builder, BrokerResource cluster, string name)
    {
        var program = BrokerProgram.Find(builder);
        var resource = new BrokerNodeResource(name, BrokerProgram.Runtime, program.DirectoryName!, cluster);
        var node = builder.AddResource(resource)
            .WithArgs(program.FullName)
            .WithOtlpExporter();
        return Describe(node, cluster).WithEnvironment(context =>
            context.EnvironmentVariables["ASPNETCORE_URLS"] = ReferenceExpression.Create(
                $"http://localhost:{node.GetEndpoint("http").Property(EndpointProperty.TargetPort)}"))
            .RunAsProcess();
    }

    public static IResourceBuilder<ContainerResource> AddContainer(
        IDistributedApplicationBuilder builder, BrokerResource cluster, string name)
    {
        var node = builder.AddResource(new ContainerResource(name));

        // WithImage may come later.
        return Describe(node, cluster).OnBeforeStart(() => node.WithImage(cluster.Image, cluster.ImageTag));
    }

    public static IResourceBuilder<ProjectResource> AddProject<TProject>(
        IDistributedApplicationBuilder builder, BrokerResource cluster, string name)
        where TProject : IProjectMetadata, new()
    {
        var node = Describe(builder.AddProject<TProject>(name, launchProfileName: null), cluster)
            .WithoutHttpsCertificate();
        return builder.ExecutionContext.IsPublishMode ? node : node.RunAsProcess().RunBuiltProgram();
    }

    private static IResourceBuilder<T> Describe<T>(IResourceBuilder<T> node, BrokerResource cluster)
        where T : IResourceWithEndpoints, IResourceWithEnvironment
    {
        var builder = node.ApplicationBuilder;
        var publishing = builder.ExecutionContext.IsPublishMode;
        node.WithServiceEndpoints("Broker__GrpcPort")
            .WithHttpEndpoint(
                name: BrokerResource.PeerEndpointName,
                targetPort: publishing ? PublishedPeerPort : null,
                env: "Broker__PeerPort",
                isProxied: false)
            .WithEndpoint(BrokerResource.PeerEndpointName, static endpoint => endpoint.Transport = "http2")
            .WithUrlForEndpoint(
                BrokerResource.PeerEndpointName, static url => url.DisplayLocation = UrlDisplayLocation.DetailsOnly)
            .WithParentRelationship(cluster)
            .WithIconName("MailInbox")
            .WithEnvironment(context => TellAsync(context, node.Resource, cluster));
        if (publishing)
        {
            node.ListenBeyondLocalhost("Broker__GrpcHost", "Broker__PeerHost")
                .WithEnvironment("Broker__DataDirectory", $"{Home}/data");
            node.OnBeforeStart(() => node.WithAnnotation(new ContainerMountAnnotation(
                VolumeOf(node.Resource.Name, cluster), Home, ContainerMountType.Volume, isReadOnly: false)));
            return node;
        }

        if (cluster.FirstPort is { } first)
        {
            var port = first + cluster.Nodes.Count;
            node.WithEndpoint(BrokerResource.GrpcEndpointName, endpoint => endpoint.Port = endpoint.TargetPort = port);
        }

        return node
            .WithEnvironment(context => context.EnvironmentVariables["Broker__DataDirectory"] =
                DataFolders.Of(node.Resource.Name, cluster, context.ExecutionContext.Services))
            .WithNodeCommands(cluster)
            .OnBeforeResourceStarted((one, starting, token) =>
                DataFolders.WaitUntilFreeAsync(DataFolders.Of(one.Name, cluster, starting.Services), token));
    }

    /// <summary>
    /// A node is also given its own address: that is how the others, and clients, reach it. Among themselves they talk
    /// at a port of its own, of which nobody else is told.
    /// </summary>
    private static async Task TellAsync(EnvironmentCallbackContext context, IResource node, BrokerResource cluster)
    {
        var told = context.EnvironmentVariables;
        told["Broker__NodeName"] = node.Name;
        told["Broker__ClusterSize"] = cluster.Nodes.Count.ToString(CultureInfo.InvariantCulture);
        foreach (var one in cluster.Nodes)
        {
            foreach (var endpoint in (string[])[BrokerResource.GrpcEndpointName, BrokerResource.PeerEndpointName])
            {
                told[$"services__{one.Name}__{endpoint}__0"] = one.GetEndpoint(endpoint);
            }
        }

        foreach (var callback in cluster.Annotations.OfType<EnvironmentCallbackAnnotation>())
        {
            await callback.Callback(context);
        }
    }

    /// <summary>messaging-1: messaging-1-data; with the volume's name "shop": shop-1.</summary>
    private static string VolumeOf(string node, BrokerResource cluster) =>
        cluster.VolumeName is { } volume ? $"{volume}{node[cluster.Name.Length..]}" : $"{node}-data";

    /// <summary>When the application has been described, and nothing has been started or written yet.</summary>
    private static IResourceBuilder<T> OnBeforeStart<T>(this IResourceBuilder<T> resource, Action act)
        where T : IResource
    {
        resource.ApplicationBuilder.Eventing.Subscribe<BeforeStartEvent>((_, _) =>
        {
            act();
            return Task.CompletedTask;
        });
        return resource;
    }
}
