using System.Threading.Channels;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Protocol.V1;
using Grpc.Core;

namespace Broker.Transport;

/// <summary>
/// The stream to one peer, whoever dialled it: a bounded queue out, a reader in. When the queue is full a message is
/// dropped, because Raft sends again and a slow peer must never hold a fast one back.
/// </summary>
internal sealed class PeerLink(PeerEndpoint peer, IPeerGate gate, BrokerMetrics metrics, ILogger logger) : IDisposable
{
    /// <summary>Messages gathered into one envelope. A larger message goes alone.</summary>
    private const int EnvelopeBytes = 1024 * 1024;

    private static readonly TimeSpan KeepAliveInterval = TimeSpan.FromMilliseconds(500);

    /// <summary>
    /// A stream that is silent for so long (four missed keep-alives) is given up: its process hangs or the network is
    /// cut.
    /// </summary>
    private static readonly TimeSpan SilenceLimit = TimeSpan.FromSeconds(2);

    private static readonly PeerMessage KeepAlive = new();

    private readonly Channel<PeerMessage> _outgoing = Channel.CreateBounded<PeerMessage>(
        new BoundedChannelOptions(Limits.MessagesPerPeerQueue) { SingleReader = true });

    private readonly SemaphoreSlim _oneStream = new(1);
    private CancellationTokenSource? _current;
    private volatile bool _connected;

    public PeerEndpoint Peer => peer;

    public bool IsConnected => _connected;

    public void Send(PeerMessage message)
    {
        if (IsConnected && !_outgoing.Writer.TryWrite(message))
        {
            metrics.PeerMessageDropped();
        }
    }

    public void Dispose() => _oneStream.Dispose();

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
        while (_outgoing.Reader.TryRead(out _))
        {
            // What was queued for the stream before is stale; Raft starts over with a probe.
        }

        _connected = true;
        TransportLog.Connected(logger, peer.Node.Value, peer.Name);
        gate.Connected(peer.Node, hello);
        try
        {
            var pumps = new[] { ReadAsync(reader, ended), WriteAsync(writer, ended.Token), KeepAliveAsync(
                ended.Token) };
            var first = await Task.WhenAny(pumps);
            await ended.CancelAsync();
            foreach (var pump in pumps)
            {
                await pump.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }

            if (first.Exception?.InnerException is { } exception and not OperationCanceledException)
            {
                TransportLog.Broke(logger, peer.Node.Value, peer.Name, exception.Message);
            }
        }
        finally
        {
            _connected = false;
            TransportLog.Disconnected(logger, peer.Node.Value, peer.Name);
            gate.Disconnected(peer.Node);
        }
    }

    private async Task ReadAsync(IAsyncStreamReader<PeerEnvelope> reader, CancellationTokenSource ended)
    {
        using var silence = new Timer(_ => ended.Cancel(), null, SilenceLimit, Timeout.InfiniteTimeSpan);
        while (await reader.MoveNext(ended.Token))
        {
            silence.Change(SilenceLimit, Timeout.InfiniteTimeSpan);
            var bytes = 0;
            foreach (var message in reader.Current.Messages)
            {
                bytes += SizeBytes(message);
                gate.Received(message);
            }

            metrics.PeerBytesReceived(bytes);
        }
    }

    private async Task WriteAsync(IAsyncStreamWriter<PeerEnvelope> writer, CancellationToken cancellationToken)
    {
        while (await _outgoing.Reader.WaitToReadAsync(cancellationToken))
        {
            var envelope = new PeerEnvelope();
            var bytes = 0;
            while (_outgoing.Reader.TryPeek(out var next))
            {
                var size = SizeBytes(next);
                if (bytes > 0 && bytes + size > EnvelopeBytes)
                {
                    break;
                }

                _outgoing.Reader.TryRead(out _);
                bytes += size;
                if (!ReferenceEquals(next, KeepAlive))
                {
                    envelope.Messages.Add(next);
                }
            }

            await writer.WriteAsync(envelope, cancellationToken);
            metrics.PeerBytesSent(bytes);
        }
    }

    private async Task KeepAliveAsync(CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(KeepAliveInterval);
        while (await timer.WaitForNextTickAsync(cancellationToken))
        {
            _outgoing.Writer.TryWrite(KeepAlive);
        }
    }

    private static int SizeBytes(PeerMessage message)
    {
        var bytes = 64;
        foreach (var entry in message.Entries)
        {
            bytes += entry.Body.Length + LogEntry.OverheadBytes;
        }

        return bytes;
    }
}
