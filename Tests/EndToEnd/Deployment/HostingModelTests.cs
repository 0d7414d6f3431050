using System.Text.Json;
using Aspire.Hosting;
using Aspire.Hosting.ApplicationModel;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Broker.Tests.EndToEnd.Deployment;

/// <summary>The model that AddBroker makes for an application that has the package alone.</summary>
public sealed class HostingModelTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("broker-model-");

    private string ManifestPath => Path.Combine(_folder.FullName, "manifest.json");

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public async Task Published_nodes_are_containers_with_all_that_a_cluster_needs()
    {
        var builder = Publishing();

        // What the cluster is told after its nodes are there holds for them, too.
        var messaging = builder.AddBroker("messaging").WithReplicas(3).WithDataVolume("shop")
            .WithLogLevel(LogLevel.Warning)
            .WithEnvironment("Broker__DataShards", "6")
            .WithImage("registry.example.com/broker", "1.2");
        builder.AddContainer("client", "client").WithReference(messaging);
        var resources = await WriteManifestAsync(builder);

        foreach (var number in Enumerable.Range(1, 3))
        {
            var node = resources.GetProperty($"messaging-{number}");
            Assert.Equal("registry.example.com/broker:1.2", node.GetProperty("image").GetString());
            var volume = Assert.Single(node.GetProperty("volumes").EnumerateArray());
            Assert.Equal($"shop-{number}", volume.GetProperty("name").GetString());
            var told = node.GetProperty("env");
            Assert.StartsWith(
                volume.GetProperty("target").GetString() + "/", told.GetProperty("Broker__DataDirectory").GetString());
            Assert.Equal($"messaging-{number}", told.GetProperty("Broker__NodeName").GetString());
            Assert.Equal("3", told.GetProperty("Broker__ClusterSize").GetString());
            Assert.Equal("Warning", told.GetProperty("Logging__LogLevel__Default").GetString());
            Assert.Equal("6", told.GetProperty("Broker__DataShards").GetString());
            Assert.Equal("true", told.GetProperty("AllowInsecure").GetString());
            Assert.Equal("*", told.GetProperty("Broker__GrpcHost").GetString());
            Assert.Equal("*", told.GetProperty("Broker__PeerHost").GetString());
            Assert.Equal(
                "{messaging-2.bindings.peer.url}", told.GetProperty("services__messaging-2__peer__0").GetString());
        }

        Assert.Equal(
            "{messaging-1.bindings.grpc.url};{messaging-2.bindings.grpc.url};{messaging-3.bindings.grpc.url}",
            resources.GetProperty("messaging").GetProperty("connectionString").GetString());
        var client = resources.GetProperty("client").GetProperty("env");
        Assert.Equal(
            "{messaging.connectionString}", client.GetProperty("ConnectionStrings__messaging").GetString());
        Assert.Equal("{messaging-1.bindings.grpc.host}", client.GetProperty("MESSAGING_HOST").GetString());
        Assert.Equal("{messaging-1.bindings.grpc.url}", client.GetProperty("MESSAGING_URI").GetString());
        Assert.StartsWith(
            "{messaging-1.bindings.grpc.url};", client.GetProperty("MESSAGING_URIS").GetString());
    }

    [Fact]
    public void Replicas_can_be_said_again()
    {
        var builder = Publishing();
        var messaging = builder.AddBroker("messaging").WithReplicas(5).WithReplicas(3);

        Assert.Equal(["messaging-1", "messaging-2", "messaging-3"], messaging.Resource.Nodes.Select(one => one.Name));
        Assert.Equal(3, builder.Resources.Count(one => one is ContainerResource));
        Assert.Throws<ArgumentOutOfRangeException>(() => messaging.WithReplicas(0));
    }

    /// <summary>This assembly names the project, not the package, whose build part says where the broker is.</summary>
    [Fact]
    public void An_AppHost_that_does_not_know_where_the_broker_is_is_told_what_is_missing()
    {
        var failure = Assert.Throws<DistributedApplicationException>(() => DistributedApplication.CreateBuilder(
            new DistributedApplicationOptions { DisableDashboard = true }).AddBroker("messaging"));
        Assert.Contains("must name the package Broker.Aspire.Hosting", failure.Message, StringComparison.Ordinal);
    }

    private IDistributedApplicationBuilder Publishing() => DistributedApplication.CreateBuilder(
        ["--publisher", "manifest", "--output-path", ManifestPath]);

    private async Task<JsonElement> WriteManifestAsync(IDistributedApplicationBuilder builder)
    {
        await using var app = builder.Build();
        await app.RunAsync(TestContext.Current.CancellationToken);
        var text = await File.ReadAllTextAsync(ManifestPath, TestContext.Current.CancellationToken);
        return JsonDocument.Parse(text).RootElement.GetProperty("resources");
    }
}
