using Broker.Client;
using Xunit;
using static Broker.Tests.Unit.Client.ClientTesting;

namespace Broker.Tests.Unit.Client;

public sealed class PublishFailureTests
{
    private static readonly CancellationToken Test = TestContext.Current.CancellationToken;

    private static readonly TimeSpan Short = TimeSpan.FromMilliseconds(300);

    [Fact]
    public async Task A_publish_that_finds_no_leader_says_that_nothing_was_stored()
    {
        await using var cluster = await FakeCluster.StartAsync();

        await using var client = Connect(cluster, FewTries);
        await client.PublishAsync("t", Message("connects"), Test);
        cluster.Nodes[0].Always = Fault.RefuseUnavailable;

        var error = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.PublishAsync("t", Message("x"), Test));

        Assert.Equal(BrokerClientErrorCode.Unavailable, error.Code);
        Assert.Matches(
            @"^A batch of 1 message for topic 't' was not stored in 4(\.0)? s and \d+ (try|tries)\. Last answer: "
            + @"http://127\.0\.0\.1:\d+/ answered Unavailable: There is no leader at the moment\. Check ",
            error.Message);
    }

    [Fact]
    public async Task A_publish_that_finds_no_room_says_what_the_broker_says_and_nothing_of_majorities()
    {
        await using var cluster = await FakeCluster.StartAsync();
        cluster.Nodes[0].Always = Fault.RefuseOverloaded;
        await using var client = Connect(cluster, o => o with { PublishTimeout = Short });

        var error = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.PublishAsync("t", Message("x"), Test));

        Assert.Contains("answered ResourceExhausted: ", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("majority", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_publish_without_an_answer_says_that_its_outcome_is_unknown()
    {
        await using var cluster = await FakeCluster.StartAsync();
        cluster.Nodes[0].Always = Fault.Swallow;
        await using var client = Connect(cluster, o => o with { PublishTimeout = Short });

        var error = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.PublishAsync("t", Message("x"), Test));

        Assert.Equal(BrokerClientErrorCode.OutcomeUnknown, error.Code);
        Assert.Contains("it may be stored or not", error.Message, StringComparison.Ordinal);
        Assert.Contains("with a producer stamp of your own", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_broker_that_never_listened_surely_stored_nothing()
    {
        var cluster = await FakeCluster.StartAsync();
        await cluster.DisposeAsync();
        await using var client = Connect(cluster, FewTries);

        var error = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.PublishAsync("t", Message("x"), Test));

        Assert.Equal(BrokerClientErrorCode.Unavailable, error.Code);
    }

    [Fact]
    public async Task After_a_publish_was_given_up_the_next_ones_go_in_a_new_epoch()
    {
        await using var cluster = await FakeCluster.StartAsync();
        await using var client = Connect(cluster, o => o with { PublishTimeout = TimeSpan.FromSeconds(2) });
        await client.PublishAsync("t", Message("0"), Test);
        cluster.Nodes[0].Always = Fault.RefuseUnavailable;
        await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.PublishAsync("t", Message("lost"), Test));
        cluster.Nodes[0].Always = Fault.None;

        var ack = await client.PublishAsync("t", Message("1"), Test);

        Assert.Equal(1, ack.Offset);
        Assert.Equal(["0", "1"], cluster.Values("t"));
        var stamp = cluster.Nodes[0].Publishes.Last().Producer;
        Assert.Equal((1u, 0ul), (stamp.Epoch, stamp.Sequence));
    }

    [Fact]
    public async Task A_batch_behind_one_that_was_refused_is_stamped_anew_and_stored_once()
    {
        await using var cluster = await FakeCluster.StartAsync();
        var node = cluster.Nodes[0];
        await using var client = Connect(cluster, o => o with { BatchRecords = 1 });
        await client.PublishAsync("t", Message("0"), Test);
        node.Next.Enqueue(Fault.RefuseInvalid);

        var acks =
            Enumerable.Range(1, 6).Select(i => client.PublishAsync("t", Message($"{i}"), Test).AsTask()).ToArray();

        var error = await Assert.ThrowsAsync<BrokerClientException>(() => acks[0]);
        Assert.Equal(BrokerClientErrorCode.InvalidArgument, error.Code);
        Assert.Contains("The test does not like it", error.Message, StringComparison.Ordinal);
        await Task.WhenAll(acks[1..]);
        Assert.Equal(["0", "2", "3", "4", "5", "6"], cluster.Values("t"));
    }

    [Fact]
    public async Task A_producer_that_the_brokers_have_forgotten_begins_anew()
    {
        await using var cluster = await FakeCluster.StartAsync();
        await using var client = Connect(cluster, o => o with { ProducerId = 7 });
        await client.PublishAsync("t", Message("0"), Test);
        cluster.Topic("t")!.Producers[7] = (0, 0);

        var ack = await client.PublishAsync("t", Message("1"), Test);

        Assert.Equal(1, ack.Offset);
        Assert.Equal(1u, cluster.Nodes[0].Publishes.Last().Producer.Epoch);
    }

    [Theory]
    [InlineData("", "topic")]
    [InlineData("a..b", "a..b")]
    [InlineData("a.*", "a.*")]
    [InlineData("$dlq.x", "$dlq.x")]
    public async Task A_bad_topic_name_is_refused_before_anything_is_sent(string topic, string mentions)
    {
        await using var client =
            new BrokerClient(new BrokerClientOptions { Addresses = [new Uri("http://127.0.0.1:1")] });

        var error = await Assert.ThrowsAsync<BrokerClientException>(
            async () => await client.PublishAsync(topic, Message("x"), Test));

        Assert.Equal(BrokerClientErrorCode.InvalidArgument, error.Code);
        Assert.Contains(mentions, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_message_above_a_limit_is_refused_before_it_joins_a_batch()
    {
        await using var client =
            new BrokerClient(new BrokerClientOptions { Addresses = [new Uri("http://127.0.0.1:1")] });

        var error = await Assert.ThrowsAsync<BrokerClientException>(async () =>
            await client.PublishAsync("t", new BrokerMessage { Value = new byte[(1024 * 1024) + 1] }, Test));

        Assert.Equal(BrokerClientErrorCode.InvalidArgument, error.Code);
        Assert.Contains("1,048,577 bytes; the limit is 1,048,576", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Disposing_the_client_fails_what_still_waits()
    {
        await using var cluster = await FakeCluster.StartAsync();
        cluster.Nodes[0].Always = Fault.Swallow;
        var client = Connect(cluster);
        var publish = client.PublishAsync("t", Message("x"), Test).AsTask();

        await client.DisposeAsync();

        var error = await Assert.ThrowsAsync<BrokerClientException>(() => publish);
        Assert.Equal(BrokerClientErrorCode.OutcomeUnknown, error.Code);
        await Assert.ThrowsAsync<ObjectDisposedException>(
            async () => await client.PublishAsync("t", Message("y"), Test));
    }

    [Fact]
    public void Options_out_of_range_are_refused_by_name()
    {
        var error = Assert.Throws<ArgumentException>(() => new BrokerClient(new BrokerClientOptions
        {
            Addresses = [new Uri("http://localhost:1")],
            MaxInFlightBatchesPerTopic = 17,
        }));

        Assert.Contains("MaxInFlightBatchesPerTopic is 17; expected 1 to 16", error.Message, StringComparison.Ordinal);
        error = Assert.Throws<ArgumentException>(() => new BrokerClient(new BrokerClientOptions()));
        Assert.Contains("Addresses names 0 brokers", error.Message, StringComparison.Ordinal);
    }

    /// <summary>No try is under way when the time is up: its outcome would not be known. Slow machines, too.</summary>
    private static BrokerClientOptions FewTries(BrokerClientOptions options) => options with
    {
        PublishTimeout = TimeSpan.FromSeconds(4),
        RetryDelayMin = TimeSpan.FromSeconds(8),
        RetryDelayMax = TimeSpan.FromSeconds(8),
    };
}
