using System.Diagnostics;
using Broker.Client;
using Xunit;
using static Broker.Tests.Unit.Client.ClientTesting;

namespace Broker.Tests.Unit.Client;

/// <summary>What becomes of what was begun when the client is disposed.</summary>
public sealed class DrainTests
{
    private static CancellationToken Test => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_was_begun_is_still_answered()
    {
        await using var cluster = await FakeCluster.StartAsync();
        cluster.Nodes[0].Hold = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var client = Connect(cluster, options => options with
        {
            DrainTimeout = TimeSpan.FromMinutes(1),
            AnswerTimeout = TimeSpan.FromMinutes(1),
            BatchRecords = 100,

            // Most of them wait for room.
            MaxBufferedBytes = 4_000,
        });
        var publishes = Enumerable.Range(0, 2_000)
            .Select(i => client.PublishAsync("t", Message($"{i}"), Test).AsTask()).ToList();

        var disposal = client.DisposeAsync().AsTask();
        await Assert.ThrowsAsync<ObjectDisposedException>(
            async () => await client.PublishAsync("t", Message("late"), Test));
        Assert.False(disposal.IsCompleted);
        cluster.Nodes[0].Hold!.SetResult();
        await disposal;

        // Each has its answer; who awaits it goes on with a thread of the pool, which may be a moment later.
        await Task.WhenAll(publishes).WaitAsync(TimeSpan.FromSeconds(10), Test);
        Assert.Equal(Enumerable.Range(0, 2_000).Select(i => $"{i}"), cluster.Values("t"));
    }

    [Fact]
    public async Task What_nobody_answers_fails_at_the_end_of_the_time_and_says_what_may_be_stored()
    {
        await using var cluster = await FakeCluster.StartAsync();
        cluster.Nodes[0].Always = Fault.Swallow;
        var client = Connect(cluster, options => options with
        {
            DrainTimeout = TimeSpan.FromSeconds(1),
            AnswerTimeout = TimeSpan.FromMinutes(1),
            BatchRecords = 100,
            MaxBufferedBytes = 4_000,
        });
        var first = client.PublishAsync("t", Message("first"), Test).AsTask();
        await Until(() => !cluster.Nodes[0].Publishes.IsEmpty, "the first batch is sent");
        var others = Enumerable.Range(0, 1_000)
            .Select(i => client.PublishAsync("t", Message($"{i}"), Test).AsTask()).ToList();

        var begun = Stopwatch.GetTimestamp();
        await client.DisposeAsync();

        Assert.True(Stopwatch.GetElapsedTime(begun) > TimeSpan.FromSeconds(0.9));
        var sent = await Assert.ThrowsAsync<BrokerClientException>(() => first);
        Assert.Equal(BrokerClientErrorCode.OutcomeUnknown, sent.Code);
        Assert.False(sent.IsTransient);
        foreach (var other in others)
        {
            await ((Task)other).ConfigureAwait(
                ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);
            var error = Assert.IsType<BrokerClientException>(other.Exception?.InnerException);
            Assert.Equal((BrokerClientErrorCode.Unavailable, true), (error.Code, error.IsTransient));
            Assert.Contains("they were not stored", error.Message, StringComparison.Ordinal);
        }

        Assert.Single(cluster.Nodes[0].Publishes);
    }

    [Fact]
    public async Task Without_patience_it_ends_at_once_and_a_second_time_does_nothing()
    {
        await using var cluster = await FakeCluster.StartAsync();
        cluster.Nodes[0].Always = Fault.Swallow;
        var client = Connect(cluster, options => options with { DrainTimeout = TimeSpan.Zero });
        var publish = client.PublishAsync("t", Message("x"), Test).AsTask();

        await client.DisposeAsync();
        await client.DisposeAsync();

        await Assert.ThrowsAsync<BrokerClientException>(() => publish);
    }
}
