using System.Threading.Channels;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Tests.Unit.GrpcCalls;
using Broker.Transport;
using Grpc.Core;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Broker.Tests.Unit.PeerStreams;

/// <summary>When a stream is given up, on a clock of the test's own.</summary>
public sealed class PeerLinkTests : IDisposable
{
    private readonly ManualTime _time = new();
    private readonly TestGate _gate = new(1);
    private readonly Stream _stream = new();
    private readonly BrokerMetrics _metrics = new();
    private readonly PeerLink _link;

    public PeerLinkTests() => _link = new PeerLink(
        new NodeId(1),
        new PeerEndpoint(new NodeId(2), "broker-2", new Uri("http://localhost:1")),
        _gate,
        _metrics,
        NullLogger.Instance,
        _time);

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_stream_that_is_silent_for_two_seconds_is_given_up()
    {
        var running = RunAsync();
        await EchoServer.UntilAsync(() => _link.IsConnected, "the stream runs");
        _time.Advance(TimeSpan.FromSeconds(1.9));
        Assert.True(_link.IsConnected);

        _time.Advance(TimeSpan.FromSeconds(0.2));
        await running.WaitAsync(EchoServer.Patience, Stop);
        Assert.Equal((1, 1), (_gate.ConnectedCount, _gate.DisconnectedCount));
    }

    [Fact]
    public async Task A_peer_that_speaks_but_takes_nothing_is_given_up_after_ten_seconds()
    {
        var running = RunAsync();
        await EchoServer.UntilAsync(() => _link.IsConnected, "the stream runs");
        _stream.IsStuck = true;
        _link.Send(PeerOutboxTests.Append(1, 10));
        _link.Flush();
        await EchoServer.UntilAsync(() => _stream.Writes == 1, "the write begins");
        var steps = 0;
        while (!running.IsCompleted && steps < 60)
        {
            steps++;
            _stream.Arrive(PeerOutboxTests.Append(steps, 0));
            var arrived = steps;
            await EchoServer.UntilAsync(() => _gate.Messages.Count == arrived || running.IsCompleted, "it is read");
            _time.Advance(TimeSpan.FromMilliseconds(500));
            await Task.Delay(5, Stop);
        }

        await running.WaitAsync(EchoServer.Patience, Stop);
        Assert.InRange(steps, 20, 30);
    }

    [Fact]
    public async Task A_stream_with_nothing_to_say_is_kept_alive_by_empty_envelopes()
    {
        var running = RunAsync();
        await EchoServer.UntilAsync(() => _link.IsConnected, "the stream runs");
        for (var second = 1; second <= 3; second++)
        {
            var before = _stream.Writes;
            _time.Advance(TimeSpan.FromMilliseconds(400));
            _link.Flush();
            Assert.Equal(before, _stream.Writes);
            _time.Advance(TimeSpan.FromMilliseconds(100));
            _link.Flush();
            await EchoServer.UntilAsync(() => _stream.Writes > before, "an envelope leaves");
        }

        _stream.End();
        await running.WaitAsync(EchoServer.Patience, Stop);
    }

    public void Dispose()
    {
        _link.Dispose();
        _metrics.Dispose();
    }

    private Task RunAsync() => _link.RunAsync(_stream, _stream, new PeerHello(), Stop);

    private sealed class Stream : IAsyncStreamReader<PeerEnvelope>, IAsyncStreamWriter<PeerEnvelope>
    {
        private readonly Channel<PeerEnvelope> _arriving = Channel.CreateUnbounded<PeerEnvelope>();
        private int _writes;

        public bool IsStuck { get; set; }

        public int Writes => Volatile.Read(ref _writes);

        public PeerEnvelope Current { get; private set; } = new();

        public WriteOptions? WriteOptions { get; set; }

        public void Arrive(PeerMessage message) =>
            _arriving.Writer.TryWrite(new PeerEnvelope { Messages = { message } });

        public void End() => _arriving.Writer.Complete();

        public async Task<bool> MoveNext(CancellationToken cancellationToken)
        {
            if (!await _arriving.Reader.WaitToReadAsync(cancellationToken))
            {
                return false;
            }

            Current = await _arriving.Reader.ReadAsync(cancellationToken);
            return true;
        }

        public Task WriteAsync(PeerEnvelope message) => WriteAsync(message, default);

        public Task WriteAsync(PeerEnvelope message, CancellationToken cancellationToken)
        {
            Interlocked.Increment(ref _writes);
            return IsStuck ? Task.Delay(Timeout.Infinite, cancellationToken) : Task.CompletedTask;
        }
    }
}
