using Aspire.Hosting.ApplicationModel;
using Broker.Hosting;
using Microsoft.Extensions.Logging;

namespace Aspire.Hosting;

/// <summary>Brokers in an application model.</summary>
public static class BrokerResourceBuilderExtensions
{
    /// <summary>
    /// Adds a cluster of brokers, of one node unless <see cref="WithReplicas"/> says otherwise. The nodes run as
    /// programs of this machine, from files that the package carries; no container engine is needed. Where the
    /// application is published they are containers, each with a volume of its own.
    /// <code>
    /// var messaging = builder.AddBroker("messaging").WithReplicas(3).WithDataVolume();
    /// builder.AddProject&lt;Projects.Shop&gt;("shop").WithReference(messaging).WaitFor(messaging);
    /// </code>
    /// </summary>
    /// <param name="builder">The application.</param>
    /// <param name="name">
    /// The cluster's name, and that of its connection string. The nodes are called by it and a number: "messaging-1".
    /// </param>
    /// <param name="port">
    /// The port for gRPC of the first node on this machine; the other nodes have those that follow. Default: free ones.
    /// </param>
    /// <returns>The cluster.</returns>
    public static IResourceBuilder<BrokerResource> AddBroker(
        this IDistributedApplicationBuilder builder, [ResourceName] string name, int? port = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrEmpty(name);
        return builder.AddCluster(name, port, (cluster, node) => builder.ExecutionContext.IsPublishMode
            ? BrokerNodes.AddContainer(builder, cluster, node).Resource
            : BrokerNodes.AddProgram(builder, cluster, node).Resource);
    }

    /// <summary>How many nodes the cluster has: 1, 3 or 5. A majority of them must live.</summary>
    /// <param name="builder">The cluster.</param>
    /// <param name="replicas">
    /// 1 to 32. Two tolerate no failure, and four no more than three. It is fixed when the cluster forms: data of a
    /// cluster of another size is refused.
    /// </param>
    /// <returns>The cluster.</returns>
    public static IResourceBuilder<BrokerResource> WithReplicas(
        this IResourceBuilder<BrokerResource> builder, int replicas)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentOutOfRangeException.ThrowIfLessThan(replicas, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(replicas, 32);
        builder.Resource.Resize(replicas);
        return builder;
    }

    /// <summary>
    /// The data outlives the run. On this machine it is kept in the user's data folder (on Linux
    /// ~/.local/share/broker-aspire/volumes), where the application is published in a volume of each node. Without this
    /// a cluster begins empty at each start of the application on this machine.
    /// </summary>
    /// <param name="builder">The cluster.</param>
    /// <param name="name">
    /// The volume's name. Default: one of this application and cluster alone. A node's number follows it.
    /// </param>
    /// <returns>The cluster.</returns>
    public static IResourceBuilder<BrokerResource> WithDataVolume(
        this IResourceBuilder<BrokerResource> builder, string? name = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        builder.Resource.VolumeName = name;
        builder.Resource.DataFolder = DataFolders.OfVolume(name ?? VolumeNameGenerator.Generate(builder, "data"));
        return builder;
    }

    /// <summary>
    /// The data outlives the run in a folder of this machine; where the application is published, in a volume of each
    /// node all the same.
    /// </summary>
    /// <param name="builder">The cluster.</param>
    /// <param name="path">
    /// The folder, relative to the AppHost's. Each node has one of its own in it, by its name. One run at a time may
    /// use it.
    /// </param>
    /// <returns>The cluster.</returns>
    public static IResourceBuilder<BrokerResource> WithDataFolder(
        this IResourceBuilder<BrokerResource> builder, string path)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrEmpty(path);
        builder.Resource.DataFolder = Path.GetFullPath(path, builder.ApplicationBuilder.AppHostDirectory);
        return builder;
    }

    /// <summary>How much the nodes log; Information by default.</summary>
    /// <param name="builder">The cluster.</param>
    /// <param name="level">What is less than this is left out.</param>
    /// <returns>The cluster.</returns>
    public static IResourceBuilder<BrokerResource> WithLogLevel(
        this IResourceBuilder<BrokerResource> builder, LogLevel level) =>
        builder.WithEnvironment("Logging__LogLevel__Default", level.ToString());

    /// <summary>The container image that the nodes are made of where the application is published.</summary>
    /// <param name="builder">The cluster.</param>
    /// <param name="image">E.g. "registry.example.com/broker-aspire/broker". Default: "broker-aspire/broker".</param>
    /// <param name="tag">Its tag. Default: "latest".</param>
    /// <returns>The cluster.</returns>
    public static IResourceBuilder<BrokerResource> WithImage(
        this IResourceBuilder<BrokerResource> builder, string image, string tag = "latest")
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrEmpty(image);
        ArgumentException.ThrowIfNullOrEmpty(tag);
        (builder.Resource.Image, builder.Resource.ImageTag) = (image, tag);
        return builder;
    }

    /// <summary>The nodes, to say more of each.</summary>
    /// <param name="builder">The cluster.</param>
    /// <returns>Builders of the present nodes, in the order of their numbers.</returns>
    public static IReadOnlyList<IResourceBuilder<IResourceWithEndpoints>> GetNodes(
        this IResourceBuilder<BrokerResource> builder)
    {
        ArgumentNullException.ThrowIfNull(builder);
        return [.. builder.Resource.Nodes.Select(builder.ApplicationBuilder.CreateResourceBuilder)];
    }

    /// <summary>The same with nodes that are a project of this solution, the broker itself.</summary>
    internal static IResourceBuilder<BrokerResource> AddBroker<TProject>(
        this IDistributedApplicationBuilder builder, string name)
        where TProject : IProjectMetadata, new() =>
        builder.AddCluster(name, port: null, (cluster, node) =>
            BrokerNodes.AddProject<TProject>(builder, cluster, node).Resource);

    private static IResourceBuilder<BrokerResource> AddCluster(
        this IDistributedApplicationBuilder builder,
        string name,
        int? port,
        Func<BrokerResource, string, IResourceWithEndpoints> addNode)
    {
        // The AppHost ends when its brokers have ended, in order, not before.
        builder.Configuration["DcpPublisher:WaitForResourceCleanup"] ??= "true";
        builder.Services.AddFolderOfThisRun();
        var cluster = new BrokerResource(name) { FirstPort = port };
        cluster.Add = node => addNode(cluster, node);
        cluster.Remove = node => builder.Resources.Remove(node);
        var result = builder.AddResource(cluster)
            .WithIconName("MailInbox")
            .WithInitialState(new CustomResourceSnapshot
            {
                ResourceType = "Broker",
                State = KnownResourceStates.NotStarted,
                Properties = [],
            })
            .WithManifestPublishingCallback(context =>
            {
                context.Writer.WriteString("type", "value.v0");
                context.WriteConnectionString(cluster);
            })
            .WithClusterState();
        cluster.Resize(1);
        return result;
    }
}
