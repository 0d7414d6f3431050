using Broker.Diagnostics;
using Broker.Domain;
using Broker.Protocol.V1;

namespace Broker.Transport;

/// <summary>
/// The connection to one peer, whoever dialled it: a bounded queue out, a reader in. When the queue is full a message
/// is dropped, because Raft sends again and a slow peer must never hold a fast one back.
/// <para>
/// Who flushes, the thread that pumps the groups, writes to the socket itself as long as it takes what there is; what
/// it does not take, and what is large, is left to the link's writer thread. So a node that is not busy changes no
/// thread to send, and one whose peer is slow loses no time with it.
/// </para>
/// </summary>
internal sealed class PeerLink(
    NodeId self, PeerEndpoint peer, IPeerGate gate, BrokerMetrics metrics, ILogger logger, TimeProvider time)
    : IDisposable
{
    /// <summary>
    /// A connection that is silent for so long (four times the longest pause between envelopes, see PeerOutbox) is
    /// given up: its process hangs or the network is cut.
    /// </summary>
    public static readonly TimeSpan SilenceLimit = TimeSpan.FromSeconds(2);

    /// <summary>
    /// A peer that speaks but has not taken one envelope in so long (1 MiB at 1 Mbit/s) does not listen; a new
    /// connection at least drops what waits for this one.
    /// </summary>
    public static readonly TimeSpan StallLimit = TimeSpan.FromSeconds(10);

    /// <summary>
    /// At most so much is written by the thread that flushes, the one that pumps the groups: more would hold them up.
    /// </summary>
    private const int InlineBytes = 16 * 1024;

    private const int KeptFrameBytes = 1024 * 1024;

    /// <summary>How often the writer looks whether its peer has stalled.</summary>
    private static readonly TimeSpan WriterStep = TimeSpan.FromMilliseconds(500);

    private readonly PeerOutbox _outgoing = new(time);
    private readonly Lock _running = new();
    private readonly AutoResetEvent _wakeWriter = new(initialState: false);

    /// <summary>Whoever holds it writes. Guards the connection that is written to and the frame.</summary>
    private readonly Lock _writing = new();

    private readonly CancellationTokenSource _closed = new();
    private volatile PeerEndpoint _peer = peer;
    private PeerConnection? _current;
    private volatile bool _connected;

    // The frame that is being written, its beginning and its end, and since when.
    private PeerConnection? _written;
    private byte[] _frame = new byte[4 * 1024];
    private int _frameAt;
    private int _frameEnd;
    private int _figureBytes;
    private long _frameBegan;

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
    /// The heartbeats of all groups have been said. Called twice a second at least, which keeps the connection alive.
    /// </summary>
    public void Flush()
    {
        if (!_connected || !_outgoing.TryMakeReady(out var bytes))
        {
            return;
        }

        if (bytes > InlineBytes)
        {
            _wakeWriter.Set();
        }
        else
        {
            WriteNow();
        }
    }

    /// <summary>Ends the connection, and what dials it. It may be ending still, so nothing is disposed of.</summary>
    public void Close() => _ = _closed.CancelAsync();

    public void Dispose()
    {
        _wakeWriter.Dispose();
        _closed.Dispose();
    }

    /// <summary>
    /// Runs an open connection on the calling thread, after the hellos, until it ends. A newer one ends the older: its
    /// peer has given that up.
    /// </summary>
    public void Run(PeerConnection connection, PeerHello hello, CancellationToken cancellationToken)
    {
        using var stop = cancellationToken.UnsafeRegister(
            static state => ((PeerConnection)state!).Close(), connection);
        using var closed = Closed.UnsafeRegister(static state => ((PeerConnection)state!).Close(), connection);
        Interlocked.Exchange(ref _current, connection)?.Close();
        lock (_running)
        {
            RunAlone(connection, hello);
        }

        Interlocked.CompareExchange(ref _current, null, connection);
    }

    private void RunAlone(PeerConnection connection, PeerHello hello)
    {
        lock (_writing)
        {
            // What was queued for the connection before is stale; Raft starts over with a probe.
            _outgoing.Clear();
            (_written, _frameAt, _frameEnd) = (connection, 0, 0);
        }

        _connected = true;
        TransportEvents.Connected(logger, _peer.Node.Value, _peer.Name);
        gate.Connected(_peer.Node, hello);
        var writer = new Thread(() => WriteWhatIsLeft(connection)) { Name = "peer writer", IsBackground = true };
        writer.Start();
        var reason = "The peer has ended the connection.";
        try
        {
            Read(connection);
        }
        catch (Exception exception)
        {
            // Whatever a peer sends, this node goes on, and tries again with another connection.
            reason = exception.Message;
        }

        // Told at once: when the peer led, every millisecond until the others know is one without a leader.
        _connected = false;
        gate.Disconnected(_peer.Node);
        TransportEvents.Disconnected(logger, _peer.Node.Value, _peer.Name);
        TransportEvents.Broke(logger, _peer.Node.Value, _peer.Name, reason);
        connection.Close();
        while (!writer.Join(TimeSpan.FromMilliseconds(10)))
        {
            _wakeWriter.Set();
        }

        lock (_writing)
        {
            _written = null;
        }
    }

    private void Read(PeerConnection connection)
    {
        var (from, to) = ((uint)_peer.Node.Value, (uint)self.Value);
        var arrived = new List<PeerMessage>();
        while (connection.TryRead(SilenceLimit, patience: null, out var kind, out var payload))
        {
            if (kind != PeerFrameKind.Envelope)
            {
                throw new IOException($"A frame of kind {kind} came among the envelopes.");
            }

            var bytes = PeerFrame.HeaderBytes + payload.Length;
            var envelope = PeerEnvelope.Parser.ParseFrom(payload);
            foreach (var heartbeat in envelope.Heartbeats)
            {
                arrived.Add(PeerHeartbeats.Unfold(heartbeat, from, to));
            }

            arrived.AddRange(envelope.Messages);
            gate.Received(arrived);
            arrived.Clear();
            metrics.PeerBytesReceived(bytes);
        }
    }

    /// <summary>Writes as much as the socket takes. Any thread, holding no lock that a writer could want.</summary>
    private void WriteNow()
    {
        do
        {
            if (!_writing.TryEnter())
            {
                // Who writes looks again when it is done.
                return;
            }

            try
            {
                if (!TryWrite(mayWait: false))
                {
                    _wakeWriter.Set();
                    return;
                }
            }
            finally
            {
                _writing.Exit();
            }

            Interlocked.MemoryBarrier();
        }
        while (_outgoing.IsReady);
    }

    /// <summary>The writer thread: it takes over where the socket was full, or where much waits.</summary>
    private void WriteWhatIsLeft(PeerConnection connection)
    {
        while (_connected)
        {
            _wakeWriter.WaitOne();
            bool isOpen;
            do
            {
                lock (_writing)
                {
                    isOpen = _written == connection;
                    if (isOpen)
                    {
                        TryWrite(mayWait: true);
                    }
                }

                Interlocked.MemoryBarrier();
            }
            while (isOpen && _connected && _outgoing.IsReady);
        }
    }

    /// <summary>
    /// Writes what is ready. False: something is left, because the socket is full or much waits, and who calls may not
    /// wait. A connection that breaks here is closed, which its reader hears.
    /// </summary>
    private bool TryWrite(bool mayWait)
    {
        try
        {
            while (_written is not null && (_frameAt < _frameEnd || TryMakeFrame(mayWait)))
            {
                _frameAt += _written.TrySend(_frame.AsSpan(_frameAt, _frameEnd - _frameAt));
                if (_frameAt == _frameEnd)
                {
                    metrics.PeerBytesSent(_figureBytes);
                }
                else if (!mayWait)
                {
                    return false;
                }
                else if (time.GetElapsedTime(_frameBegan) > StallLimit)
                {
                    TransportEvents.Stalled(logger, _peer.Node.Value, _peer.Name);
                    _written.Close();
                    return true;
                }
                else
                {
                    _written.WaitWritable(WriterStep);
                }
            }

            return mayWait || !_outgoing.IsReady;
        }
        catch (IOException)
        {
            // The reader hears of it, and says why.
            _written?.Close();
            _written = null;
            return true;
        }
    }

    private bool TryMakeFrame(bool mayWait)
    {
        if (!_outgoing.TryTake(mayWait ? PeerOutbox.EnvelopeBytes : InlineBytes, out var envelope))
        {
            return false;
        }

        if (_frame.Length > KeptFrameBytes)
        {
            _frame = new byte[4 * 1024];
        }

        _frameEnd = _figureBytes = PeerFrame.Write(PeerFrameKind.Envelope, envelope, ref _frame);
        (_frameAt, _frameBegan) = (0, time.GetTimestamp());
        return true;
    }
}
