using Broker.Api;
using Broker.Domain;
using Broker.Protocol.Wire;
using Broker.Tests.Unit.Client;
using Broker.Tests.Unit.Cluster;
using Broker.Tests.Unit.GrpcCalls;
using Broker.Topics;
using Broker.Transport;
using Google.Protobuf;
using Grpc.Core;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Broker.Tests.Unit.Api;

/// <summary>
/// How a publish that is forwarded to the leader is answered, when the leader or the way to it fails too.
/// </summary>
public sealed class ForwardStreamTests : IAsyncLifetime
{
    private const ulong ProducerId = 7;

    private FakeCluster _leader = null!;
    private CuttableProxy _proxy = null!;
    private LoneNode _lone = null!;
    private ForwardStream _stream = null!;
    private ulong _sequence;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _leader = await FakeCluster.StartAsync();
        _proxy = new CuttableProxy(_leader.Nodes[0].Address.Port);
        var leader = new PeerEndpoint(new NodeId(2), "broker-2", new Uri($"http://127.0.0.1:{_proxy.Port}"));
        _lone = new LoneNode(static failure => Assert.Fail(failure.ToString()), leader);
        _stream = new ForwardStream(leader, NullLogger.Instance);
    }

    public async ValueTask DisposeAsync()
    {
        await _stream.DisposeAsync();
        await _lone.DisposeAsync();
        await _proxy.DisposeAsync();
        await _leader.DisposeAsync();
    }

    [Fact]
    public async Task A_forwarded_publish_gets_the_leaders_answer_under_its_own_correlation()
    {
        var answers = await Task.WhenAll(Enumerable.Range(0, 100).Select(i => Publish((ulong)(1000 + i))));

        Assert.All(answers, answer => Assert.Equal(0U, answer.Status));
        Assert.Equal(Enumerable.Range(1000, 100), answers.Select(answer => (int)answer.Correlation));
        Assert.Equal(Enumerable.Range(0, 100), answers.Select(answer => (int)answer.Response.BaseOffset));
    }

    [Fact]
    public async Task What_waits_is_forwarded_in_one_message()
    {
        var answers = Enumerable.Range(0, 500).Select(i => Publish((ulong)i)).ToList();
        await Task.WhenAll(answers).WaitAsync(EchoServer.Patience, Stop);

        // The first message leaves with what was there; while it is written, hundreds gather.
        Assert.InRange(_leader.Nodes[0].Messages.Count, 1, 250);
    }

    [Fact]
    public async Task A_leader_that_cannot_be_reached_has_surely_stored_nothing()
    {
        await _proxy.DisposeAsync();

        Assert.Equal(StatusCode.Unavailable, await StatusAsync());
    }

    [Theory]
    [InlineData(nameof(Fault.Break), false)]
    [InlineData(nameof(Fault.StoreAndBreak), true)]
    public async Task A_stream_that_breaks_leaves_the_outcome_open_and_the_next_publish_opens_another(
        string fault, bool isStored)
    {
        _leader.Nodes[0].Next.Enqueue(Enum.Parse<Fault>(fault));

        Assert.Equal(StatusCode.Aborted, await StatusAsync());

        _sequence--;
        var again = await Publish(1);
        Assert.Equal((0U, isStored), (again.Status, again.Response.Duplicate));
    }

    [Fact]
    public async Task A_connection_that_is_cut_leaves_the_outcome_open_and_the_next_publish_opens_another()
    {
        _leader.Nodes[0].Next.Enqueue(Fault.Swallow);
        var lost = Publish(1);
        await EchoServer.UntilAsync(() => !_leader.Nodes[0].Publishes.IsEmpty, "the publish arrives");

        _proxy.Cut();

        Assert.Equal((uint)StatusCode.Aborted, (await lost.WaitAsync(EchoServer.Patience, Stop)).Status);
        Assert.Equal(StatusCode.OK, await StatusAsync());
    }

    [Fact]
    public async Task A_leader_that_stops_leaves_the_outcome_open()
    {
        _leader.Nodes[0].Next.Enqueue(Fault.Swallow);
        var lost = Publish(1);
        await EchoServer.UntilAsync(() => !_leader.Nodes[0].Publishes.IsEmpty, "the publish arrives");

        await _leader.DisposeAsync();

        Assert.Equal((uint)StatusCode.Aborted, (await lost.WaitAsync(EchoServer.Patience, Stop)).Status);
    }

    [Fact]
    public async Task What_waits_when_the_node_stops_is_refused()
    {
        _leader.Nodes[0].Always = Fault.Swallow;
        var lost = Publish(1);
        await EchoServer.UntilAsync(() => !_leader.Nodes[0].Publishes.IsEmpty, "the publish arrives");

        await _stream.DisposeAsync();

        Assert.Equal((uint)StatusCode.Aborted, (await lost.WaitAsync(EchoServer.Patience, Stop)).Status);
        _stream = new ForwardStream(_lone.Node.Options.Nodes[1], NullLogger.Instance);
    }

    private async Task<StatusCode> StatusAsync() =>
        (StatusCode)(await Publish(1).WaitAsync(EchoServer.Patience, Stop)).Status;

    private Task<PublishResult> Publish(ulong correlation)
    {
        var batch = new Protocol.V1.RecordBatch
        {
            Records = { new Protocol.V1.Record { Value = ByteString.CopyFromUtf8("x") } },
        };
        var request = new PublishRequest
        {
            Topic = "t",
            Batch = batch.ToByteString(),
            Producer = new ProducerStamp { Id = ProducerId, Sequence = _sequence++ },
        };
        var sink = new SingleAnswer();
        _stream.Send(new PublishCall(
            correlation,
            request,
            new PublishTarget(new GroupId(1), request.Topic),
            new BatchScan(1, RefusalCode.None, null),
            sink,
            new LeaderDirectory(_lone.Node),
            _lone.Metrics));
        return sink.Task;
    }
}
