using Broker.Client;
using Xunit;
using static Broker.Tests.Unit.Client.ClientTesting;

namespace Broker.Tests.Unit.Client;

public sealed class PublishBatchTests
{
    private static readonly CancellationToken Test = TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_batch_sent_again_in_another_life_is_stored_once()
    {
        await using var cluster = await FakeCluster.StartAsync();
        var batch = RecordBatchEncoder.Encode([Message("a"), Message("b")]);
        var stamp = new ProducerStamp(42, 0, 0);
        for (var life = 0; life < 2; life++)
        {
            await using var client = Connect(cluster);
            var ack = await client.PublishBatchAsync("t", batch, 2, stamp, Test);
            Assert.Equal((0, life == 1), (ack.Offset, ack.Duplicate));
        }

        Assert.Equal(["a", "b"], cluster.Values("t"));
    }

    [Fact]
    public async Task Batches_begun_without_waiting_keep_the_order_of_the_calls()
    {
        await using var cluster = await FakeCluster.StartAsync(2);
        cluster.Nodes[0].Next.Enqueue(Fault.AbortNotStored);
        cluster.Nodes[1].Next.Enqueue(Fault.StoreAndBreak);
        await using var client = Connect(cluster);

        await Task.WhenAll(Enumerable.Range(0, 50).Select(i => client.PublishBatchAsync(
            "t", RecordBatchEncoder.Encode([Message($"{i}")]), 1, new ProducerStamp(9, 0, (ulong)i), Test).AsTask()));

        Assert.Equal(Enumerable.Range(0, 50).Select(i => $"{i}"), cluster.Values("t"));
        Assert.Equal(1, cluster.Nodes.Max(n => n.Publishes.Count(p => p.Producer.Sequence == 1)));
    }

    [Fact]
    public async Task A_gap_in_the_callers_sequence_is_told_to_the_caller()
    {
        await using var cluster = await FakeCluster.StartAsync();
        await using var client = Connect(cluster);
        await client.PublishBatchAsync(
            "t", RecordBatchEncoder.Encode([Message("0")]), 1, new ProducerStamp(9, 0, 0), Test);

        var error = await Assert.ThrowsAsync<BrokerClientException>(async () => await client.PublishBatchAsync(
            "t", RecordBatchEncoder.Encode([Message("5")]), 1, new ProducerStamp(9, 0, 5), Test));

        Assert.Equal(BrokerClientErrorCode.FailedPrecondition, error.Code);
        Assert.Contains("next sequence is 1", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_stands_behind_a_failed_batch_fails_with_it_and_all_can_be_sent_again()
    {
        await using var cluster = await FakeCluster.StartAsync();
        cluster.Nodes[0].Next.Enqueue(Fault.RefuseInvalid);
        await using var client = Connect(cluster);
        Task<PublishAck>[] Send() => [.. Enumerable.Range(0, 8).Select(i => client.PublishBatchAsync(
            "t", RecordBatchEncoder.Encode([Message($"{i}")]), 1, new ProducerStamp(9, 0, (ulong)i), Test).AsTask())];

        var failed = Send();
        foreach (var (i, task) in failed.Index())
        {
            var error = await Assert.ThrowsAsync<BrokerClientException>(() => task);
            Assert.Equal(
                i == 0 ? BrokerClientErrorCode.InvalidArgument : BrokerClientErrorCode.FailedPrecondition, error.Code);
        }

        Assert.Empty(cluster.Values("t"));
        await Task.WhenAll(Send());
        Assert.Equal(Enumerable.Range(0, 8).Select(i => $"{i}"), cluster.Values("t"));
    }

    [Fact]
    public async Task A_duplicate_that_the_brokers_do_not_remember_has_no_offset()
    {
        await using var cluster = await FakeCluster.StartAsync();
        await using var client = Connect(cluster);
        var stamp = new ProducerStamp(9, 0, 0);
        var batch = RecordBatchEncoder.Encode([Message("0")]);
        await client.PublishBatchAsync("t", batch, 1, stamp, Test);
        cluster.Topic("t")!.Remembered.Clear();

        var ack = await client.PublishBatchAsync("t", batch, 1, stamp, Test);

        Assert.Equal((-1, true), (ack.Offset, ack.Duplicate));
    }
}
