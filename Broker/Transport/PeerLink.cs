using Broker.Diagnostics;
using Broker.Domain;
using Broker.Protocol.V1;
using Grpc.Core;

namespace Broker.Transport;

/// <summary>
/// The stream to one peer, whoever dialled it: a bounded queue out, a reader in. When the queue is full a message is
/// dropped, because Raft sends again and a slow peer must never hold a fast one back.
/// </summary>
internal sealed class PeerLink(
    NodeId self, PeerEndpoint peer, IPeerGate gate, BrokerMetrics metrics, ILogger logger, TimeProvider time)
    : IDisposable
{
    /// <summary>
    /// A stream that is silent for so long (twice the longest pause between envelopes, see PeerOutbox) is given up: its
    /// process hangs or the network is cut.
    /// </summary>
    private static readonly TimeSpan SilenceLimit = TimeSpan.FromSeconds(2);

    /// <summary>
    /// A peer that speaks but has not taken one envelope in so long (1 MiB at 1 Mbit/s) does not listen; a new stream
    /// at least drops what waits for this one.
    /// </summary>
    private static readonly TimeSpan StallLimit = TimeSpan.FromSeconds(10);

    /// <summary>
    /// An envelope of at most so many bytes is written by the thread that flushes, the one that pumps the groups: a
    /// larger one would hold them up.
    /// </summary>
    private const int InlineBytes = 4 * 1024;

    private readonly PeerOutbox _outgoing = new(time);
    private readonly SemaphoreSlim _oneStream = new(1);

    private readonly CancellationTokenSource _closed = new();
    private volatile PeerEndpoint _peer = peer;
    private CancellationTokenSource? _current;
    private volatile bool _connected;
    private long _writeBegan; // a timestamp; 0 while no write is under way

    /// <summary>The peer, where it was last known to be. Its number and its name stay.</summary>
    public PeerEndpoint Peer
    {
        get => _peer;
        set => _peer = value;
    }

    /// <summary>Cancelled when the peer is none any more.</summary>
    public CancellationToken Closed => _closed.Token;

    public bool IsConnected => _connected;

    public void Send(PeerMessage message)
    {
        if (IsConnected && !_outgoing.TryAdd(message))
        {
            metrics.PeerMessageDropped();
        }
    }

    /// <summary>
    /// The heartbeats of all groups have been said. Called twice a second at least, which keeps the stream alive.
    /// </summary>
    public void Flush() => _outgoing.Flush();

    /// <summary>Ends the stream, and what dials it. It may be ending still, so nothing is disposed of.</summary>
    public void Close() => _ = _closed.CancelAsync();

    public void Dispose()
    {
        _oneStream.Dispose();
        _closed.Dispose();
    }

    /// <summary>
    /// Runs one open stream, after the hellos, until it breaks. A newer stream ends the older: its peer has given that
    /// up.
    /// </summary>
    public async Task RunAsync(
        IAsyncStreamReader<PeerEnvelope> reader,
        IAsyncStreamWriter<PeerEnvelope> writer,
        PeerHello hello,
        CancellationToken cancellationToken)
    {
        // Not disposed: a newer stream may still cancel it, and without a timer it holds nothing.
        var ended = new CancellationTokenSource();
        using var stop = cancellationToken.UnsafeRegister(
            static state => ((CancellationTokenSource)state!).Cancel(), ended);
        if (Interlocked.Exchange(ref _current, ended) is { } older)
        {
            await older.CancelAsync();
        }

        await _oneStream.WaitAsync(cancellationToken);
        try
        {
            await RunAloneAsync(reader, writer, hello, ended);
        }
        finally
        {
            Interlocked.CompareExchange(ref _current, null, ended);
            _oneStream.Release();
        }
    }

    private async Task RunAloneAsync(
        IAsyncStreamReader<PeerEnvelope> reader,
        IAsyncStreamWriter<PeerEnvelope> writer,
        PeerHello hello,
        CancellationTokenSource ended)
    {
        // What was queued for the stream before is stale; Raft starts over with a probe.
        _outgoing.Clear();
        Volatile.Write(ref _writeBegan, 0);
        _connected = true;
        TransportEvents.Connected(logger, _peer.Node.Value, _peer.Name);
        gate.Connected(_peer.Node, hello);
        Task[] pumps = [ReadAsync(reader, ended), WriteAsync(writer, ended.Token)];
        var first = await Task.WhenAny(pumps);

        // Told at once: when the peer led, every millisecond until the others know is one without a leader.
        _connected = false;
        gate.Disconnected(_peer.Node);
        TransportEvents.Disconnected(logger, _peer.Node.Value, _peer.Name);
        await ended.CancelAsync();
        foreach (var pump in pumps)
        {
            await pump.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        if (first.Exception?.InnerException is { } exception and not OperationCanceledException)
        {
            TransportEvents.Broke(logger, _peer.Node.Value, _peer.Name, exception.Message);
        }
    }

    private async Task ReadAsync(IAsyncStreamReader<PeerEnvelope> reader, CancellationTokenSource ended)
    {
        var (from, to) = ((uint)_peer.Node.Value, (uint)self.Value);
        await using var silence = new SilenceWatch(time, SilenceLimit, ended.Cancel);
        var arrived = new List<PeerMessage>();
        while (await reader.MoveNext(ended.Token))
        {
            silence.Heard();
            var envelope = reader.Current;
            foreach (var heartbeat in envelope.Heartbeats)
            {
                arrived.Add(PeerHeartbeats.Unfold(heartbeat, from, to));
            }

            arrived.AddRange(envelope.Messages);
            gate.Received(arrived);
            arrived.Clear();
            metrics.PeerBytesReceived(PeerOutbox.SizeBytes(envelope));
            if (Volatile.Read(ref _writeBegan) is var began and not 0 && time.GetElapsedTime(began) > StallLimit)
            {
                TransportEvents.Stalled(logger, _peer.Node.Value, _peer.Name);
                return;
            }
        }
    }

    private async Task WriteAsync(IAsyncStreamWriter<PeerEnvelope> writer, CancellationToken cancellationToken)
    {
        while (true)
        {
            var (envelope, bytes) = await _outgoing.TakeAsync(cancellationToken);
            Volatile.Write(ref _writeBegan, time.GetTimestamp());
            if (bytes > InlineBytes)
            {
                await Task.Yield();
            }

            await writer.WriteAsync(envelope, cancellationToken);
            Volatile.Write(ref _writeBegan, 0);
            metrics.PeerBytesSent(bytes);
        }
    }

    /// <summary>
    /// Says when nothing was heard for so long. Hearing something only notes the time: a timer that were set anew with
    /// every message would wake the runtime's timer thread again and again on a node that has nothing else to do.
    /// </summary>
    private sealed class SilenceWatch : IAsyncDisposable
    {
        private readonly TimeProvider _time;
        private readonly TimeSpan _limit;
        private readonly Action _isSilent;
        private readonly ITimer _timer;
        private long _heardAt;

        public SilenceWatch(TimeProvider time, TimeSpan limit, Action isSilent)
        {
            (_time, _limit, _isSilent, _heardAt) = (time, limit, isSilent, time.GetTimestamp());
            _timer = time.CreateTimer(_ => Look(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            _timer.Change(limit, Timeout.InfiniteTimeSpan);
        }

        public void Heard() => Volatile.Write(ref _heardAt, _time.GetTimestamp());

        public ValueTask DisposeAsync() => _timer.DisposeAsync();

        private void Look()
        {
            var left = _limit - _time.GetElapsedTime(Volatile.Read(ref _heardAt));
            if (left <= TimeSpan.Zero)
            {
                _isSilent();
            }
            else
            {
                _timer.Change(left, Timeout.InfiniteTimeSpan);
            }
        }
    }
}
