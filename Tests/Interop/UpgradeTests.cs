using System.IO.Compression;
using System.Text;
using Broker.Client;
using Broker.Protocol.V1;
using Broker.Tests.Scenarios;
using Grpc.Net.Client;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>
/// Today's broker goes on with what former versions have written; FormerData/README.md says what that is.
/// </summary>
public sealed class UpgradeTests
{
    private const int Numbers = 600;
    private const int Topics = 3;
    private const int PurgedBefore = 50;
    private const int LargeRecords = 24;
    private const int LargeBytes = 40_000;

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("2026-11-26")]
    [InlineData("2026-11-27")]
    public async Task Broker_opens_the_folder_of_a_former_version_and_has_all_of_it_also_when_killed(string data)
    {
        await using var brokers = new Brokers(founders: 1, shards: 2)
        {
            Settings = [("Broker__SegmentBytes", "65536")],
        };
        await ZipFile.ExtractToDirectoryAsync(
            Path.Combine(AppContext.BaseDirectory, "FormerData", $"{data}.zip"), brokers.FolderOf(1), Test);
        await brokers.FormAsync();
        await brokers.HaveMembersAsync([1], [1]);
        await using var client = brokers.Connect(1);
        for (var round = 0; round < 2; round++)
        {
            var topics = await client.ListTopicsAsync(cancellationToken: Test);
            Assert.Equal(
                ["upgrade.0 0-200", "upgrade.1 0-200", "upgrade.2 50-200", $"upgrade.large 0-{LargeRecords}"],
                topics.Select(static topic => $"{topic.Name} {topic.FirstOffset}-{topic.NextOffset}"));
            for (var topic = 0; topic < Topics; topic++)
            {
                await AssertHasAllAsync(client, topic);
            }

            var large = await ReadAsync(client, "upgrade.large", 0);
            Assert.Equal(LargeRecords, large.Count);
            Assert.All(large, static record => Assert.Equal(LargeBytes, record.Value.Length));
            Assert.Equal(["upgrade: upgrade.>"], await ListLiveSubscriptionsAsync(brokers.GrpcOf(1)));
            await brokers.KillAsync(1);
            brokers.Start(1);
            await brokers.BecomeHealthyAsync(1);
        }

        // It goes on where that version ended.
        var ack = await client.PublishAsync("upgrade.0", new BrokerMessage { Value = new byte[] { 1 } }, Test);
        Assert.Equal(Numbers / Topics, ack.Offset);
    }

    private static async Task AssertHasAllAsync(BrokerClient client, int topic)
    {
        var first = topic == 2 ? PurgedBefore : 0;
        var records = await ReadAsync(client, $"upgrade.{topic}", first);
        Assert.Equal((Numbers / Topics) - first, records.Count);
        foreach (var record in records)
        {
            var number = (record.Offset * Topics) + topic;
            Assert.Equal($"message {number}", Encoding.UTF8.GetString(record.Value.Span));
            Assert.Equal((int)(number % 7), BitConverter.ToInt32(record.Key.Span));
            var header = Assert.Single(record.Headers);
            Assert.Equal(("number", $"{number}"), (header.Key, Encoding.UTF8.GetString(header.Value.Span)));
        }
    }

    private static async Task<IEnumerable<string>> ListLiveSubscriptionsAsync(Uri address)
    {
        using var channel = GrpcChannel.ForAddress(address);
        var answer = await new Admin.AdminClient(channel).ListLiveSubscriptionsAsync(
            new ListLiveSubscriptionsRequest(), cancellationToken: Test);
        return answer.Subscriptions.Select(static each => $"{each.Name}: {string.Join(' ', each.Filters)}");
    }

    private static async Task<List<BrokerRecord>> ReadAsync(BrokerClient client, string topic, long from)
    {
        var records = new List<BrokerRecord>();
        await foreach (var record in client.ReadAsync(topic, new ReadOptions { FromOffset = from }, Test))
        {
            records.Add(record);
        }

        return records;
    }
}
