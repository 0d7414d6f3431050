using Broker.Client;
using Xunit;

namespace Broker.Tests.EndToEnd;

/// <summary>What a user sees who removes records of a topic.</summary>
[Collection(BrokerSystemCollection.Name)]
public sealed class PurgeTests(BrokerSystem fixture)
{
    private const string Topic = "e2e.purge";
    private const int Messages = 30;

    [Fact]
    public async Task Purged_records_are_gone_on_every_node_and_offsets_go_on()
    {
        using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(90));
        var client = fixture.System.Client;
        await Task.WhenAll(Enumerable.Range(0, Messages).Select(async i =>
            await client.PublishAsync(Topic, new() { Value = BitConverter.GetBytes(i) }, timeout.Token)));

        // Each node takes the command; those that do not lead the topic's shard pass it on.
        var nodes = (await client.DescribeClusterAsync(timeout.Token)).Nodes;
        foreach (var (i, node) in nodes.Index())
        {
            await using var atNode = Connect(node.Address);
            Assert.Equal(10 + i, await atNode.PurgeTopicAsync(Topic, 10 + i, timeout.Token));
        }

        var tooFar = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.PurgeTopicAsync(Topic, Messages + 1, timeout.Token));
        Assert.Equal(BrokerClientErrorCode.OutOfRange, tooFar.Code);
        var unknown = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.PurgeTopicAsync("e2e.unknown", null, timeout.Token));
        Assert.Equal(BrokerClientErrorCode.NotFound, unknown.Code);

        var last = await client.PublishAsync(Topic, new() { Value = "last"u8.ToArray() }, timeout.Token);
        Assert.Equal(Messages, last.Offset);
        foreach (var node in nodes)
        {
            await using var atNode = Connect(node.Address);
            var listed = await ListedAsync(atNode, Messages + 1, timeout.Token);
            Assert.Equal(10 + nodes.Count - 1, listed.FirstOffset);
            Assert.Equal(
                Enumerable.Range(10 + nodes.Count - 1, Messages + 1 - (10 + nodes.Count - 1)).Select(i => (long)i),
                await OffsetsAsync(atNode, timeout.Token));
        }
    }

    private static BrokerClient Connect(string address) => new(new BrokerClientOptions { Addresses = [new(address)] });

    /// <summary>
    /// The topic as a node has applied it, once that is as far as the given next offset: a node may lag.
    /// </summary>
    private static async Task<TopicInfo> ListedAsync(
        BrokerClient client, long nextOffset, CancellationToken cancellationToken)
    {
        while (true)
        {
            var listed = await client.ListTopicsAsync(Topic, cancellationToken);
            if (listed.Count == 1 && listed[0].NextOffset >= nextOffset)
            {
                return listed[0];
            }

            await Task.Delay(20, cancellationToken);
        }
    }

    private static async Task<List<long>> OffsetsAsync(BrokerClient client, CancellationToken cancellationToken)
    {
        var offsets = new List<long>();
        await foreach (var record in client.ReadAsync(
            Topic, new ReadOptions { Linearizable = true }, cancellationToken))
        {
            offsets.Add(record.Offset);
        }

        return offsets;
    }
}
