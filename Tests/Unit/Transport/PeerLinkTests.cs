using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Tests.Unit.GrpcCalls;
using Broker.Transport;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Broker.Tests.Unit.PeerStreams;

/// <summary>
/// One connection, with the test at its other end. What is sent, and when, is by the test's clock; how long the kernel
/// is waited for is not.
/// </summary>
public sealed class PeerLinkTests : IDisposable
{
    private readonly ManualTime _time = new();
    private readonly TestGate _gate = new(1);
    private readonly BrokerMetrics _metrics = new();
    private readonly PeerLink _link;
    private readonly PeerConnection _near;
    private readonly PeerConnection _far;
    private readonly Socket _farSocket;

    public PeerLinkTests()
    {
        _link = new PeerLink(
            new NodeId(1),
            new PeerEndpoint(new NodeId(2), "broker-2", new Uri("http://localhost:1")),
            _gate,
            _metrics,
            NullLogger.Instance,
            _time);
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var address = new Uri($"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}");
        _near = new PeerConnection(PeerSocket.Connect(address, EchoServer.Patience, Stop), _time);
        _farSocket = listener.AcceptSocket();
        _far = new PeerConnection(new PeerSocket(_farSocket), TimeProvider.System);
    }

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_connection_that_is_silent_for_two_seconds_is_given_up()
    {
        var watch = Stopwatch.StartNew();
        await RunAsync().WaitAsync(EchoServer.Patience, Stop);

        Assert.InRange(watch.Elapsed.TotalSeconds, 1.9, 15);
        Assert.Equal((1, 1), (_gate.ConnectedCount, _gate.DisconnectedCount));
        Assert.False(_link.IsConnected);
    }

    [Fact]
    public async Task A_peer_that_speaks_but_takes_nothing_is_given_up_after_ten_seconds()
    {
        var running = RunAsync();
        await EchoServer.UntilAsync(() => _link.IsConnected, "the connection runs");
        for (var index = 1; index <= 60; index++)
        {
            _link.Send(PeerOutboxTests.Append(index, 1024 * 1024));
            _link.Flush();
        }

        for (var second = 1; second <= 9; second++)
        {
            Say(new PeerEnvelope());
            _time.Advance(TimeSpan.FromSeconds(1));
            await Task.Delay(100, Stop);
            Assert.False(running.IsCompleted);
        }

        // What the kernel has room for counts as taken, so it may be later.
        var watch = Stopwatch.StartNew();
        while (!running.IsCompleted)
        {
            Assert.True(watch.Elapsed < EchoServer.Patience, "the connection is given up");
            _time.Advance(TimeSpan.FromSeconds(1));
            SayUnlessEnded();
            await Task.Delay(100, Stop);
        }
    }

    [Fact]
    public async Task What_a_full_socket_does_not_take_follows_in_order_when_it_does()
    {
        var running = RunAsync();
        await EchoServer.UntilAsync(() => _link.IsConnected, "the connection runs");
        const int Count = 30_000;
        var sent = 0;
        var taken = new List<long>();
        while (taken.Count < Count)
        {
            // Small ones are written by this thread; the far end reads slower than that.
            for (; sent < Count && sent - taken.Count < 3_000; sent++)
            {
                _link.Send(PeerOutboxTests.Append(sent, 1_000));
                _link.Flush();
            }

            Assert.True(_far.TryRead(EchoServer.Patience, null, out var kind, out var payload));
            Assert.Equal(PeerFrameKind.Envelope, kind);
            taken.AddRange(PeerEnvelope.Parser.ParseFrom(payload).Messages.Select(static each => each.LogIndex));
            Say(new PeerEnvelope());
        }

        Assert.Equal(Enumerable.Range(0, Count).Select(static each => (long)each), taken);
        _far.Close();
        await running.WaitAsync(EchoServer.Patience, Stop);
    }

    [Fact]
    public async Task A_connection_with_nothing_to_say_is_kept_alive_by_empty_envelopes()
    {
        var running = RunAsync();
        await EchoServer.UntilAsync(() => _link.IsConnected, "the connection runs");
        for (var second = 1; second <= 3; second++)
        {
            Say(new PeerEnvelope());
            _time.Advance(TimeSpan.FromMilliseconds(400));
            _link.Flush();
            Assert.False(_farSocket.Poll(TimeSpan.FromMilliseconds(20), SelectMode.SelectRead));
            _time.Advance(TimeSpan.FromMilliseconds(100));
            _link.Flush();
            Assert.True(_far.TryRead(EchoServer.Patience, null, out var kind, out var payload));
            Assert.Equal((PeerFrameKind.Envelope, 0), (kind, payload.Length));
        }

        _far.Close();
        await running.WaitAsync(EchoServer.Patience, Stop);
    }

    [Fact]
    public async Task A_garbled_frame_ends_the_connection_and_nothing_of_it_is_taken()
    {
        var running = RunAsync();
        await EchoServer.UntilAsync(() => _link.IsConnected, "the connection runs");
        Say(new PeerEnvelope { Messages = { PeerOutboxTests.Append(1, 10) } });
        await EchoServer.UntilAsync(() => _gate.Messages.Count == 1, "the first arrives");
        var frame = new byte[1];
        var length = PeerFrame.Write(
            PeerFrameKind.Envelope, new PeerEnvelope { Messages = { PeerOutboxTests.Append(2, 10) } }, ref frame);
        frame[length - 1] ^= 1;
        _far.Write(frame.AsSpan(0, length), EchoServer.Patience);

        await running.WaitAsync(EchoServer.Patience, Stop);
        Assert.Single(_gate.Messages);
    }

    [Fact]
    public async Task A_peer_that_dies_within_a_frame_leaves_nothing_of_it()
    {
        var running = RunAsync();
        await EchoServer.UntilAsync(() => _link.IsConnected, "the connection runs");
        var frame = new byte[1];
        var length = PeerFrame.Write(
            PeerFrameKind.Envelope, new PeerEnvelope { Messages = { PeerOutboxTests.Append(1, 1_000) } }, ref frame);
        _far.Write(frame.AsSpan(0, length / 2), EchoServer.Patience);
        _far.Close();

        await running.WaitAsync(EchoServer.Patience, Stop);
        Assert.Empty(_gate.Messages);
    }

    [Theory]
    [InlineData((int)PeerFrameKind.Hello)]
    [InlineData((int)PeerFrameKind.Refusal)]
    public async Task A_frame_that_does_not_belong_there_ends_the_connection(int kind)
    {
        var running = RunAsync();
        await EchoServer.UntilAsync(() => _link.IsConnected, "the connection runs");
        _far.Write((PeerFrameKind)kind, new PeerHello(), EchoServer.Patience);
        await running.WaitAsync(EchoServer.Patience, Stop);
    }

    public void Dispose()
    {
        _near.Dispose();
        _far.Dispose();
        _link.Dispose();
        _metrics.Dispose();
    }

    private Task RunAsync() => PeerThread.RunAsync("test", () => _link.Run(_near, new PeerHello(), Stop));

    private void Say(PeerEnvelope envelope) => _far.Write(PeerFrameKind.Envelope, envelope, EchoServer.Patience);

    private void SayUnlessEnded()
    {
        try
        {
            Say(new PeerEnvelope());
        }
        catch (IOException ended)
        {
            Assert.NotEmpty(ended.Message);
        }
    }
}
