using Broker.Client;
using Xunit;
using static Broker.Tests.Unit.Client.ClientTesting;

namespace Broker.Tests.Unit.Client;

/// <summary>How publishes share the messages of a stream.</summary>
public sealed class PublishMessageTests
{
    private static readonly CancellationToken Test = TestContext.Current.CancellationToken;

    [Fact]
    public async Task Publishes_that_wait_leave_together()
    {
        await using var cluster = await FakeCluster.StartAsync();
        await using var client = Connect(cluster);
        await PublishAsync(client, 400, Message("0"));
        cluster.Nodes[0].Messages.Clear();

        await PublishAsync(client, 400, Message("1"));

        Assert.Equal(400, cluster.Nodes[0].Messages.Sum(static message => message.Publishes));

        // How many leave together depends on the threads of the moment; alone they would be 400.
        Assert.InRange(cluster.Nodes[0].Messages.Count, 1, 300);
    }

    [Fact]
    public async Task A_lone_publish_does_not_wait_for_company()
    {
        await using var cluster = await FakeCluster.StartAsync();
        await using var client = Connect(cluster);

        for (var i = 0; i < 10; i++)
        {
            await client.PublishAsync("t", Message($"{i}"), Test);
        }

        Assert.Equal(Enumerable.Repeat(1, 10), cluster.Nodes[0].Messages.Select(static message => message.Publishes));
    }

    [Fact]
    public async Task No_message_is_beyond_what_the_contract_allows()
    {
        await using var cluster = await FakeCluster.StartAsync();
        await using var client = Connect(cluster);

        await PublishAsync(client, 3_000, Message("x"));
        await PublishAsync(client, 30, new BrokerMessage { Value = new byte[200_000] });
        await PublishAsync(client, 3, new BrokerMessage { Value = new byte[1024 * 1024] });

        Assert.All(cluster.Nodes[0].Messages, static message =>
        {
            Assert.InRange(message.Publishes, 1, 1_024);
            Assert.True(message.Publishes == 1 || message.Bytes <= 1024 * 1024, $"{message}");
        });
        Assert.Contains(cluster.Nodes[0].Messages, static message => message.Publishes > 1);
    }

    /// <summary>One message to each of so many topics, at once.</summary>
    private static Task<PublishAck[]> PublishAsync(BrokerClient client, int topics, BrokerMessage message) =>
        Task.WhenAll(Enumerable.Range(0, topics).Select(i => client.PublishAsync($"t{i}", message, Test).AsTask()));
}
