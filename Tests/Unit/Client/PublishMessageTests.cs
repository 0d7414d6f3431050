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

        // A busy machine takes a second for what comes now, and nothing here is to be sent again.
        await using var client = Connect(cluster, with => with with { AnswerTimeout = TimeSpan.FromSeconds(20) });
        var node = cluster.Nodes[0];
        node.HoldMessages = new TaskCompletionSource();

        // More than what HTTP/2 lets through unread: the last of these is being written until the broker reads on.
        var large = PublishAsync(client, 4, new BrokerMessage { Value = new byte[1024 * 1024] });
        var small = PublishAsync(client, 400, Message("1"));
        node.HoldMessages.SetResult();
        await Task.WhenAll(large, small);

        Assert.Equal(404, node.Messages.Sum(static message => message.Publishes));

        // The large ones by themselves; the others in one, save those that came when it was being written already.
        Assert.InRange(node.Messages.Count, 5, 12);
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
