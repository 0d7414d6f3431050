using Broker.Client;
using Broker.Domain;
using Xunit;
using static Broker.Tests.Unit.Client.ClientTesting;

namespace Broker.Tests.Unit.Client;

public sealed class ReadTests
{
    private static readonly CancellationToken Test = TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_read_returns_every_record_with_key_value_and_headers()
    {
        await using var cluster = await FakeCluster.StartAsync();
        await using var client = Connect(cluster);
        await client.PublishAsync(
            "t",
            new BrokerMessage
            {
                Key = "k"u8.ToArray(),
                Value = "v"u8.ToArray(),
                Headers = [new("h", "1"u8.ToArray())],
            },
            Test);

        var record = Assert.Single(await ReadAll(client, "t"));

        Assert.Equal(("t", 0L, "v"), (record.Topic, record.Offset, Text(record)));
        Assert.Equal("k"u8.ToArray(), record.Key.ToArray());
        Assert.Equal("h", Assert.Single(record.Headers).Key);
        Assert.Equal(DateTimeOffset.FromUnixTimeMilliseconds(1_700_000_000_000), record.Timestamp);
    }

    [Fact]
    public async Task A_read_begins_at_its_offset_within_a_batch_and_ends_at_its_limit()
    {
        await using var cluster = await FakeCluster.StartAsync();
        await using var client = Connect(cluster);
        await Fill(client, 20, inBatchesOf: 10);

        var records = await ReadAll(client, "t", new ReadOptions { FromOffset = 13, MaxRecords = 4 });

        Assert.Equal(["13", "14", "15", "16"], records.Select(Text));
        Assert.Equal([13L, 14, 15, 16], records.Select(r => r.Offset));
    }

    [Fact]
    public async Task A_read_goes_on_elsewhere_when_its_broker_breaks()
    {
        await using var cluster = await FakeCluster.StartAsync(3);
        await using var client = Connect(cluster);
        await Fill(client, 300, inBatchesOf: 5);
        cluster.Nodes.ForEach(n => n.BreakReadAfterBatches = 7);

        var records = await ReadAll(client, "t");

        Assert.Equal(Enumerable.Range(0, 300).Select(i => $"{i}"), records.Select(Text));
        Assert.InRange(cluster.Nodes.Sum(n => n.Reads), 8, 20);
    }

    [Fact]
    public async Task A_read_that_follows_outlives_a_dead_broker()
    {
        await using var cluster = await FakeCluster.StartAsync(2);
        await using var client = Connect(cluster);
        await Fill(client, 10, inBatchesOf: 1);
        var seen = new List<string>();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Test);
        var reading = Task.Run(
            async () =>
            {
                await foreach (var record in client.ReadAsync("t", new ReadOptions { Follow = true }, stop.Token))
                {
                    lock (seen)
                    {
                        seen.Add(Text(record));
                    }
                }
            },
            Test);
        await Until(() => Count() == 10, "the first ten were read");

        await cluster.Nodes[0].DisposeAsync();
        cluster.Leader = 1;
        await client.PublishAsync("t", Message("after"), Test);

        await Until(() => Count() == 11, "the one after was read");
        Assert.Equal("after", seen[^1]);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => reading);

        int Count()
        {
            lock (seen)
            {
                return seen.Count;
            }
        }
    }

    [Fact]
    public async Task A_read_from_the_end_skips_what_is_there()
    {
        await using var cluster = await FakeCluster.StartAsync();
        await using var client = Connect(cluster);
        await Fill(client, 10, inBatchesOf: 1);
        await using var read = client
            .ReadAsync("t", new ReadOptions { FromEnd = true, Follow = true }, Test)
            .GetAsyncEnumerator(Test);
        var next = read.MoveNextAsync();
        await Until(() => cluster.Nodes[0].Reads == 1, "the read began");

        await client.PublishAsync("t", Message("new"), Test);

        Assert.True(await next);
        Assert.Equal((10L, "new"), (read.Current.Offset, Text(read.Current)));
    }

    [Fact]
    public async Task A_broker_that_cannot_give_the_records_now_is_left_for_another_one()
    {
        await using var cluster = await FakeCluster.StartAsync(3);
        await using var client = Connect(cluster);
        await Fill(client, 10, inBatchesOf: 1);
        cluster.Nodes[0].RefuseReads = Refusal.FailedPrecondition("not now");
        cluster.Nodes[1].RefuseReads = Refusal.QuorumLost("two disks are lost");

        Assert.Equal(10, (await ReadAll(client, "t")).Count);
        Assert.Equal(10, (await ReadAll(client, "t")).Count);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_shard_that_has_lost_its_quorum_is_not_asked_for_ever(bool follow)
    {
        await using var cluster = await FakeCluster.StartAsync(3);
        await using var client = Connect(cluster);
        foreach (var node in cluster.Nodes)
        {
            node.RefuseReads = Refusal.QuorumLost("two disks are lost");
        }

        var error = await Assert.ThrowsAsync<BrokerClientException>(async () =>
        {
            await foreach (var _ in client.ReadAsync("t", new ReadOptions { Follow = follow }, Test))
            {
            }
        });

        Assert.Equal((BrokerClientErrorCode.QuorumLost, "QUORUM_LOST"), (error.Code, error.Reason));
        Assert.Contains("two disks are lost", error.Message, StringComparison.Ordinal);
        Assert.Equal(3, cluster.Nodes.Sum(static node => node.Reads));
    }

    [Fact]
    public async Task A_topic_that_no_broker_has_is_not_found()
    {
        await using var cluster = await FakeCluster.StartAsync(3);
        await using var client = Connect(cluster);

        var error = await Assert.ThrowsAsync<BrokerClientException>(() => ReadAll(client, "nothing"));

        Assert.Equal(BrokerClientErrorCode.NotFound, error.Code);
        Assert.Contains(
            "Reading topic 'nothing' from offset 0 failed after 3 tries", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_offset_beyond_the_end_is_out_of_range()
    {
        await using var cluster = await FakeCluster.StartAsync();
        await using var client = Connect(cluster);
        await Fill(client, 1, inBatchesOf: 1);

        var error = await Assert.ThrowsAsync<BrokerClientException>(
            () => ReadAll(client, "t", new ReadOptions { FromOffset = 5 }));

        Assert.Equal(BrokerClientErrorCode.OutOfRange, error.Code);
    }

    [Fact]
    public async Task A_read_gives_up_when_no_broker_answers_in_time()
    {
        var cluster = await FakeCluster.StartAsync();
        await cluster.DisposeAsync();
        await using var client = Connect(cluster, o => o with { OperationTimeout = TimeSpan.FromMilliseconds(200) });

        var error = await Assert.ThrowsAsync<BrokerClientException>(() => ReadAll(client, "t"));

        Assert.Equal(BrokerClientErrorCode.Unavailable, error.Code);
    }

    private static async Task Fill(BrokerClient client, int records, int inBatchesOf)
    {
        for (var i = 0; i < records; i += inBatchesOf)
        {
            var batch = Enumerable.Range(i, inBatchesOf).Select(n => Message($"{n}")).ToList();
            await client.PublishBatchAsync(
                "t", RecordBatchEncoder.Encode(batch), inBatchesOf, new ProducerStamp(5, 0, (ulong)i), Test);
        }
    }

    private static async Task<List<BrokerRecord>> ReadAll(
        BrokerClient client, string topic, ReadOptions? options = null)
    {
        var records = new List<BrokerRecord>();
        await foreach (var record in client.ReadAsync(topic, options, Test))
        {
            records.Add(record);
        }

        return records;
    }
}
