using System.Collections.Concurrent;
using Broker.Api;
using Broker.Client;
using Broker.Domain;
using Broker.Protocol.Wire;
using Broker.Tests.Unit.Cluster;
using Broker.Topics;
using Google.Protobuf;
using Grpc.Core;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Broker.Tests.Unit.Api;

/// <summary>What becomes of publishes while a shard has no leader, on a node that is not started yet.</summary>
public sealed class PublishRouterTests : IAsyncLifetime
{
    private static readonly ByteString Batch = UnsafeByteOperations.UnsafeWrap(
        RecordBatchEncoder.Encode([new BrokerMessage { Value = new byte[8] }]));

    private readonly LoneNode _lone = new(static failure => Assert.Fail(failure.ToString()));
    private readonly Answers _answers = new();
    private LeaderForwarder _forwarder = null!;
    private PublishRouter _router = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync()
    {
        _forwarder = new LeaderForwarder(_lone.Node, TimeProvider.System, NullLogger<LeaderForwarder>.Instance);
        var firsts = new FirstPublishes(_lone.Node, new TopicMaker(_lone.Node), TimeProvider.System);
        _router = new PublishRouter(_lone.Node, new LeaderDirectory(_lone.Node), _forwarder, firsts, _lone.Metrics);
        return ValueTask.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        await _forwarder.DisposeAsync();
        await _lone.DisposeAsync();
    }

    /// <summary>What waits behind it would wait for ever; a node that ends is replaced by another.</summary>
    [Fact]
    public async Task A_failure_that_nobody_foresaw_ends_the_node()
    {
        var told = new TaskCompletionSource<Exception>();
        await using var lone = new LoneNode(told.SetResult);
        var foreseen = new InvalidOperationException("a bug");
        var waiting = new WaitingCalls(lone.Node, new GroupId(1), (_, _) => throw foreseen);
        var request = new PublishRequest { Topic = "a", Batch = Batch };
        waiting.Add(
            new PublishCall(
                1,
                request,
                new PublishTarget(new GroupId(1), "a"),
                new BatchScan(1, RefusalCode.None, null),
                _answers,
                new LeaderDirectory(lone.Node),
                lone.Metrics),
            forwarded: false,
            Stop);
        Assert.Same(foreseen, await told.Task.WaitAsync(Stop));
    }

    /// <summary>
    /// Each waited for the leader by itself, and what came when it was there overtook those that still did.
    /// </summary>
    [Fact]
    public async Task What_waits_for_a_leader_is_not_overtaken_by_what_comes_later()
    {
        ulong routed = 0;
        Route(ref routed, 5_000);
        _lone.Node.Start();
        while (_answers.Count == 0)
        {
            Route(ref routed, 10);
            await Task.Delay(1, Stop);
        }

        Route(ref routed, 1_000);
        await UntilAnsweredAsync(routed);

        Assert.All(_answers.All, answer => Assert.Equal("", answer.Message));
        Assert.Equal(
            Enumerable.Range(0, (int)routed),
            _answers.All.OrderBy(answer => answer.Correlation).Select(answer => (int)answer.Response.BaseOffset));
    }

    [Fact]
    public async Task What_waits_in_vain_is_refused_and_so_is_what_is_too_much()
    {
        ulong routed = 0;
        Route(ref routed, Limits.WaitingProposalsPerGroup + 10);
        await UntilAnsweredAsync(10);

        Assert.All(_answers.All, answer => Assert.Equal((uint)StatusCode.ResourceExhausted, answer.Status));
        Assert.All(_answers.All, answer => Assert.Contains("has no leader", answer.Message, StringComparison.Ordinal));

        await UntilAnsweredAsync(routed);
        Assert.Equal(
            Limits.WaitingProposalsPerGroup,
            _answers.All.Count(static answer => answer.Status == (uint)StatusCode.Unavailable));
    }

    [Fact]
    public async Task Who_hangs_up_does_not_hold_up_the_others()
    {
        using var call = CancellationTokenSource.CreateLinkedTokenSource(Stop);
        _router.Route(0, Request(), forwarded: false, _answers, call.Token);
        ulong routed = 1;
        Route(ref routed, 9);
        await call.CancelAsync();
        await UntilAnsweredAsync(1);
        _lone.Node.Start();
        await UntilAnsweredAsync(10);

        Assert.Equal((uint)StatusCode.Unavailable, _answers.All.Single(answer => answer.Correlation == 0).Status);
        Assert.Equal(9, _answers.All.Count(static answer => answer.Status == 0));
    }

    private void Route(ref ulong routed, int count)
    {
        for (var i = 0; i < count; i++)
        {
            _router.Route(routed++, Request(), forwarded: false, _answers, Stop);
        }
    }

    private async Task UntilAnsweredAsync(ulong count)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(Stop);
        patience.CancelAfter(TimeSpan.FromSeconds(60));
        while (_answers.Count < (int)count)
        {
            await Task.Delay(10, patience.Token);
        }
    }

    private static PublishRequest Request() => new() { Topic = "t", Batch = Batch };

    private sealed class Answers : IPublishSink
    {
        private readonly ConcurrentQueue<PublishResult> _all = new();

        public int Count => _all.Count;

        public IReadOnlyCollection<PublishResult> All => _all;

        public void Answered(PublishResult response) => _all.Enqueue(response);
    }
}
