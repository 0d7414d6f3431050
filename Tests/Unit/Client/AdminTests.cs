using Broker.Client;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Xunit;
using static Broker.Tests.Unit.Client.ClientTesting;

namespace Broker.Tests.Unit.Client;

public sealed class AdminTests
{
    private static readonly CancellationToken Test = TestContext.Current.CancellationToken;

    [Fact]
    public async Task Topics_are_listed_by_filter()
    {
        await using var cluster = await FakeCluster.StartAsync();
        await using var client = Connect(cluster);
        await client.PublishAsync("orders.eu", Message("x"), Test);
        await client.PublishAsync("users", Message("x"), Test);

        var topics = await client.ListTopicsAsync("orders.*", Test);

        Assert.Equal(new TopicInfo("orders.eu", 1, 0, 1), Assert.Single(topics));
        Assert.Equal(2, (await client.ListTopicsAsync(cancellationToken: Test)).Count);
    }

    [Fact]
    public async Task A_topic_is_purged_before_an_offset_or_of_all_records()
    {
        await using var cluster = await FakeCluster.StartAsync();
        await using var client = Connect(cluster);
        for (var i = 0; i < 5; i++)
        {
            await client.PublishAsync("orders", Message("x"), Test);
        }

        Assert.Equal(0, await client.PurgeTopicAsync("orders", 0, Test));
        Assert.Equal(3, await client.PurgeTopicAsync("orders", 3, Test));
        Assert.Equal(5, await client.PurgeTopicAsync("orders", cancellationToken: Test));
        var error = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.PurgeTopicAsync("none", cancellationToken: Test));
        Assert.Equal(BrokerClientErrorCode.NotFound, error.Code);
    }

    [Fact]
    public async Task A_bad_filter_is_refused_without_a_retry()
    {
        await using var cluster = await FakeCluster.StartAsync();
        await using var client = Connect(cluster);

        var error =
            await Assert.ThrowsAsync<BrokerClientException>(async () => await client.ListTopicsAsync("a.>.b", Test));

        Assert.Equal(BrokerClientErrorCode.InvalidArgument, error.Code);
        Assert.StartsWith(
            "Listing topics failed after 1 try. http://127.0.0.1:", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_cluster_is_described_by_any_node_that_lives()
    {
        await using var cluster = await FakeCluster.StartAsync(3);
        await using var client = Connect(cluster);
        cluster.Leader = 2;
        await cluster.Nodes[0].DisposeAsync();
        await cluster.Nodes[1].DisposeAsync();

        var info = await client.DescribeClusterAsync(Test);

        Assert.Equal((3, 3), (info.ThisNode, info.Nodes.Count));
        var shard = info.Shards[0];
        Assert.Equal((1, 3, 3L, "Leader"), (shard.Shard, shard.Leader, shard.Term, shard.Role));
    }

    [Fact]
    public async Task One_node_is_asked_by_its_address_and_once()
    {
        await using var cluster = await FakeCluster.StartAsync(2);
        await using var client = Connect(cluster, static options => options with
        {
            AnswerTimeout = TimeSpan.FromSeconds(10),
        });

        Assert.Equal(2, (await client.DescribeNodeAsync(cluster.Addresses[1], Test)).ThisNode);
        await cluster.Nodes[1].DisposeAsync();
        var error = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.DescribeNodeAsync(cluster.Addresses[1], Test));
        Assert.Equal(BrokerClientErrorCode.Unavailable, error.Code);
    }

    [Fact]
    public async Task Live_subscriptions_are_put_and_deleted()
    {
        await using var cluster = await FakeCluster.StartAsync();
        await using var client = Connect(cluster);

        await client.PutLiveSubscriptionAsync("me", ["a.>", "b"], Test);
        Assert.Equal(["a.>", "b"], cluster.LiveSubscriptions["me"]);
        await client.DeleteLiveSubscriptionAsync("me", Test);
        Assert.Empty(cluster.LiveSubscriptions);
    }

    [Fact]
    public void Addresses_come_from_service_discovery()
    {
        var options = Options(new()
        {
            ["services:broker-2:grpc:0"] = "http://localhost:7002",
            ["services:broker-1:grpc:0"] = "http://localhost:7001",
            ["services:broker-1:http:0"] = "http://localhost:8001",
            ["services:broker-x:grpc:0"] = "http://localhost:9001",
            ["Aspire:Broker:Client:PublishTimeout"] = "00:00:05",
        });

        Assert.Equal(
            ["http://localhost:7001/", "http://localhost:7002/"], options.Addresses.Select(a => a.AbsoluteUri));
        Assert.Equal(TimeSpan.FromSeconds(5), options.PublishTimeout);
    }

    [Fact]
    public void A_connection_string_comes_before_the_section_and_both_before_service_discovery()
    {
        Dictionary<string, string?> settings = new()
        {
            ["services:broker-1:grpc:0"] = "http://localhost:7001",
            ["Aspire:Broker:Client:Addresses:0"] = "http://c:3",
        };
        Assert.Equal(["http://c:3/"], Options(settings).Addresses.Select(a => a.AbsoluteUri));

        settings["Aspire:Broker:Client:broker:Addresses:0"] = "http://d:4";
        Assert.Equal(["http://d:4/"], Options(settings).Addresses.Select(a => a.AbsoluteUri));

        settings["ConnectionStrings:broker"] = "http://a:1;http://b:2";
        Assert.Equal(["http://a:1/", "http://b:2/"], Options(settings).Addresses.Select(a => a.AbsoluteUri));
    }

    [Fact]
    public async Task The_client_is_registered_once_for_the_process()
    {
        var configuration = new ConfigurationBuilder()
            .AddInMemoryCollection(
                new Dictionary<string, string?> { ["ConnectionStrings:broker"] = "http://127.0.0.1:1" })
            .Build();
        await using var services = new ServiceCollection()
            .AddSingleton<IConfiguration>(configuration)
            .AddBrokerClient()
            .BuildServiceProvider();

        Assert.Same(services.GetRequiredService<BrokerClient>(), services.GetRequiredService<BrokerClient>());
        Assert.Same(services.GetRequiredService<BrokerClient>(), services.GetRequiredService<IBrokerClient>());
        Assert.Same(services.GetRequiredService<BrokerClient>(), services.GetRequiredService<IBrokerAdmin>());
    }

    [Fact]
    public void Without_an_address_the_error_says_what_to_set()
    {
        using var services = new ServiceCollection()
            .AddSingleton<IConfiguration>(new ConfigurationBuilder().Build())
            .AddBrokerClient()
            .BuildServiceProvider();

        var error = Assert.Throws<InvalidOperationException>(services.GetRequiredService<IBrokerClient>);
        Assert.Contains("ConnectionStrings:broker", error.Message, StringComparison.Ordinal);
    }

    private static BrokerClientOptions Options(Dictionary<string, string?> settings) =>
        BrokerClientOptions.FromConfiguration(
            new ConfigurationBuilder().AddInMemoryCollection(settings).Build(), "broker");
}
