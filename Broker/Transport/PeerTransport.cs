using System.Net.Sockets;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.ServiceDefaults;
using Google.Protobuf;
using Grpc.Core;

namespace Broker.Transport;

/// <summary>
/// All connections to the other nodes: one per pair, dialled by the node with the lower id, all groups multiplexed over
/// it. A broken one is dialled again with back-off and jitter. Each has a thread that reads it, see
/// <see cref="PeerSocket"/>.
/// </summary>
public sealed partial class PeerTransport : IAsyncDisposable
{
    private static readonly TimeSpan RedialDelayMin = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan RedialDelayMax = TimeSpan.FromMilliseconds(500);

    /// <summary>A connection that lived so long was a good one: its peer is worth a quick first try.</summary>
    private static readonly TimeSpan GoodConnection = TimeSpan.FromSeconds(1);

    /// <summary>Who has connected says hello within so long, and is answered within so long.</summary>
    internal static readonly TimeSpan HelloTimeout = TimeSpan.FromSeconds(2);

    private readonly NodeId _self;
    private readonly IPeerGate _gate;
    private readonly BrokerMetrics _metrics;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _stopping = new();
    private readonly Lock _peersGate = new();
    private readonly List<Task> _dialers = [];
    private readonly HashSet<Task> _accepted = [];
    private readonly TimeProvider _time;
    private readonly SnapshotReceiver _snapshotReceiver;
    private readonly EntryServer _entryServer;
    private readonly EntryFetcher _entryFetcher;

    /// <summary>One a peer. Never changed: other peers make another one.</summary>
    private volatile Dictionary<NodeId, PeerLink> _links = [];

    private readonly TransferThrottle _throttle;

    private bool _isStarted;

    public PeerTransport(
        NodeId self,
        IReadOnlyList<PeerEndpoint> peers,
        IPeerGate gate,
        long transferBytesPerSecond,
        BrokerMetrics metrics,
        ILogger logger,
        TimeProvider? time = null)
    {
        _self = self;
        _gate = gate;
        _metrics = metrics;
        _logger = logger;
        _time = time ?? TimeProvider.System;
        SetPeers(peers);
        _throttle = new TransferThrottle(transferBytesPerSecond, _time);
        SnapshotInbox = new SnapshotInbox(_time);
        _snapshotReceiver = new SnapshotReceiver(gate, SnapshotInbox, hello => Admit(hello), logger);
        SnapshotSender = new SnapshotSender(gate, _throttle, _time, logger, _stopping.Token);
        _entryServer = new EntryServer(gate, _throttle, hello => Admit(hello), logger);
        _entryFetcher = new EntryFetcher(gate, _time, logger);
    }

    /// <summary>The snapshots on their way to this node.</summary>
    internal SnapshotInbox SnapshotInbox { get; }

    /// <summary>The snapshots that this node gives away.</summary>
    internal SnapshotSender SnapshotSender { get; }

    public void Start()
    {
        lock (_peersGate)
        {
            _isStarted = true;
            foreach (var link in _links.Values)
            {
                Dial(link);
            }
        }
    }

    /// <summary>
    /// The other nodes are these from now on. One that is known goes on under its address if it is connected; one that
    /// is none of them is cut off. Any thread.
    /// </summary>
    public void SetPeers(IEnumerable<PeerEndpoint> peers)
    {
        lock (_peersGate)
        {
            var before = _links;
            var links = new Dictionary<NodeId, PeerLink>();
            foreach (var peer in peers)
            {
                if (peer.Node == _self)
                {
                    continue;
                }

                if (before.TryGetValue(peer.Node, out var link))
                {
                    link.Peer = peer;
                }
                else
                {
                    link = new PeerLink(_self, peer, _gate, _metrics, _logger, _time);
                    if (_isStarted)
                    {
                        Dial(link);
                    }
                }

                links.Add(peer.Node, link);
            }

            _links = links;
            foreach (var (node, link) in before)
            {
                if (!links.ContainsKey(node))
                {
                    link.Close();
                }
            }
        }
    }

    public bool IsConnected(NodeId peer) => _links.TryGetValue(peer, out var link) && link.IsConnected;

    /// <summary>Queues a message. Dropped when the peer is away or its queue is full.</summary>
    public void Send(NodeId to, PeerMessage message)
    {
        if (_links.TryGetValue(to, out var link))
        {
            link.Send(message);
        }
    }

    /// <summary>Has the heartbeats leave that wait for those of other groups.</summary>
    public void Flush()
    {
        foreach (var link in _links.Values)
        {
            link.Flush();
        }
    }

    /// <summary>Ends all connections, and what peers have called for.</summary>
    public void CloseStreams() => _stopping.Cancel();

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        Task[] ending;
        lock (_peersGate)
        {
            ending = [.. _dialers, .. _accepted];
        }

        await Task.WhenAll(ending);
        foreach (var link in _links.Values)
        {
            link.Dispose();
        }

        _readChannels.Dispose();
        SnapshotInbox.Dispose();
        _entryServer.Dispose();
        _stopping.Dispose();
    }

    /// <summary>
    /// Serves a connection that somebody made, on the calling thread, until it ends. Whatever comes is borne: who is no
    /// peer of this cluster is told why, as far as it listens, and so is this node's operator.
    /// </summary>
    /// <param name="socket">The connection, which stays the caller's.</param>
    /// <param name="known">Called when it is known who has connected.</param>
    internal void Accept(PeerSocket socket, Action known)
    {
        var ended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_peersGate)
        {
            _accepted.Add(ended.Task);
        }

        using var connection = new PeerConnection(socket, _time);
        using var stop = _stopping.Token.UnsafeRegister(
            static state => ((PeerConnection)state!).Close(), connection);
        try
        {
            var link = AcceptHello(connection, out var hello);
            known();
            link.Run(connection, hello, _stopping.Token);
        }
        catch (RpcException refusal) when (refusal.StatusCode == StatusCode.FailedPrecondition)
        {
            Refuse(connection, new PeerRefusal { Reason = refusal.Status.Detail, DoesNotBelong = true }, _logger);
        }
        catch (Exception failure)
        {
            TransportEvents.NoPeer(_logger, connection.Remote, failure.Message);
        }
        finally
        {
            lock (_peersGate)
            {
                _accepted.Remove(ended.Task);
            }

            ended.SetResult();
        }
    }

    /// <summary>
    /// Tells whoever has connected why it is not taken, for a process that is no node of a cluster. Blocks.
    /// </summary>
    internal static void Refuse(PeerSocket socket, string reason, TimeProvider time, ILogger logger)
    {
        using var connection = new PeerConnection(socket, time);
        Refuse(connection, new PeerRefusal { Reason = reason }, logger);
    }

    private static void Refuse(PeerConnection connection, PeerRefusal refusal, ILogger logger)
    {
        try
        {
            connection.Write(PeerFrameKind.Refusal, refusal, HelloTimeout);
        }
        catch (IOException failure)
        {
            TransportEvents.NoPeer(logger, connection.Remote, failure.Message);
        }
    }

    private PeerLink AcceptHello(PeerConnection connection, out PeerHello hello)
    {
        if (!connection.TryTakePreamble(HelloTimeout))
        {
            throw new IOException("It does not begin as a peer does.");
        }

        hello = ReadHello(connection);
        var link = Admit(hello);
        connection.Write(PeerFrameKind.Hello, _gate.Hello, HelloTimeout);
        return link;
    }

    /// <summary>Those with a higher number are dialled; the others dial.</summary>
    private void Dial(PeerLink link)
    {
        if (link.Peer.Node.Value > _self.Value)
        {
            _dialers.RemoveAll(static dialer => dialer.IsCompleted);
            _dialers.Add(Task.Run(async () =>
            {
                using var ended = CancellationTokenSource.CreateLinkedTokenSource(_stopping.Token, link.Closed);
                await DialForeverAsync(link, ended.Token);
            }));
        }
    }

    private async Task DialForeverAsync(PeerLink link, CancellationToken cancellationToken)
    {
        var backoff = new Backoff(RedialDelayMin, RedialDelayMax, _time);
        while (!cancellationToken.IsCancellationRequested)
        {
            var began = _time.GetTimestamp();
            try
            {
                await PeerThread.RunAsync($"peer {link.Peer.Name}", () => Dial(link, cancellationToken));
            }
            catch (Exception exception) when (exception
                is RpcException or IOException or SocketException or InvalidProtocolBufferException)
            {
                var reason = exception is RpcException { Status.Detail: var detail } ? detail : exception.Message;
                TransportEvents.DialFailed(_logger, link.Peer.Name, link.Peer.Address, reason);
                if (exception is RpcException { StatusCode: StatusCode.FailedPrecondition })
                {
                    _gate.RefusedBy(link.Peer.Node, reason);
                }

                _gate.Unreachable(link.Peer.Node);
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                return;
            }

            // A peer that takes each connection and drops it at once is not dialled faster than one that is away.
            if (_time.GetElapsedTime(began) > GoodConnection)
            {
                backoff.Reset();
            }

            await backoff.WaitAsync(cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            _metrics.PeerRedialed();
        }
    }

    /// <summary>Makes one connection and runs it until it breaks.</summary>
    private void Dial(PeerLink link, CancellationToken cancellationToken)
    {
        var address = link.Peer.Address;
        using var connection = new PeerConnection(
            PeerSocket.Connect(address, HelloTimeout, cancellationToken), _time);
        using var stop = cancellationToken.UnsafeRegister(
            static state => ((PeerConnection)state!).Close(), connection);
        connection.Write(PeerFrame.Preamble, HelloTimeout);
        connection.Write(PeerFrameKind.Hello, _gate.Hello, HelloTimeout);
        var hello = ReadHello(connection);
        if (Admit(hello) != link)
        {
            throw new RpcException(new Status(
                StatusCode.FailedPrecondition,
                $"{address} answers as '{hello.Name}', not as '{link.Peer.Name}': "
                + "check service discovery."));
        }

        link.Run(connection, hello, cancellationToken);
    }

    private static PeerHello ReadHello(PeerConnection connection)
    {
        if (!connection.TryRead(HelloTimeout, HelloTimeout, out var kind, out var payload))
        {
            throw new IOException("The connection ended before a hello came. Is this the port of a broker's peers?");
        }

        if (kind == PeerFrameKind.Refusal)
        {
            var refusal = PeerRefusal.Parser.ParseFrom(payload);
            throw PeerTransfer.Refuse(
                refusal.DoesNotBelong ? StatusCode.FailedPrecondition : StatusCode.Unavailable, refusal.Reason);
        }

        return kind == PeerFrameKind.Hello
            ? PeerHello.Parser.ParseFrom(payload)
            : throw new IOException($"A frame of kind {kind} came where a hello was expected.");
    }

    private PeerLink Admit(PeerHello hello)
    {
        var known = _links.TryGetValue(new NodeId((int)hello.NodeId), out var link);
        var reason = known ? "" : $"Node {hello.NodeId} ('{hello.Name}') is not one of this cluster's nodes.";
        if (known && _gate.Admits(hello, out reason))
        {
            return link!;
        }

        TransportEvents.Refused(_logger, hello.NodeId, hello.Name, reason);
        _gate.RefusedBy(new NodeId((int)hello.NodeId), reason);
        throw new RpcException(new Status(StatusCode.FailedPrecondition, reason));
    }
}
