using Broker.Diagnostics;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.ServiceDefaults;
using Grpc.Core;

namespace Broker.Transport;

/// <summary>
/// All streams to the other nodes: one per pair, dialled by the node with the lower id, all groups multiplexed over it.
/// A broken stream is dialled again with back-off and jitter.
/// </summary>
public sealed partial class PeerTransport : IAsyncDisposable
{
    private static readonly TimeSpan RedialDelayMin = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan RedialDelayMax = TimeSpan.FromMilliseconds(500);

    /// <summary>A stream that lived so long was a good one: its peer is worth a quick first try.</summary>
    private static readonly TimeSpan GoodStream = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan HelloTimeout = TimeSpan.FromSeconds(2);

    private readonly NodeId _self;
    private readonly IPeerGate _gate;
    private readonly BrokerMetrics _metrics;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _stopping = new();
    private readonly Lock _peersGate = new();
    private readonly List<Task> _dialers = [];
    private readonly TimeProvider _time;
    private readonly SnapshotReceiver _snapshotReceiver;
    private readonly EntryServer _entryServer;
    private readonly EntryFetcher _entryFetcher;

    /// <summary>One a peer. Never changed: other peers make another one.</summary>
    private volatile Dictionary<NodeId, PeerLink> _links = [];

    private bool _isStarted;

    public PeerTransport(
        NodeId self,
        IReadOnlyList<PeerEndpoint> peers,
        IPeerGate gate,
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
        var throttle = new TransferThrottle(Limits.TransferBytesPerSecond, _time);
        SnapshotInbox = new SnapshotInbox(_time);
        _snapshotReceiver = new SnapshotReceiver(gate, SnapshotInbox, hello => Admit(hello), logger);
        SnapshotSender = new SnapshotSender(gate, throttle, _time, logger, _stopping.Token);
        _entryServer = new EntryServer(gate, throttle, hello => Admit(hello), logger);
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

    /// <summary>Ends all streams, so that the server which carries them can stop.</summary>
    public void CloseStreams() => _stopping.Cancel();

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        Task[] dialers;
        lock (_peersGate)
        {
            dialers = [.. _dialers];
        }

        await Task.WhenAll(dialers);
        foreach (var link in _links.Values)
        {
            link.Dispose();
        }

        _readChannels.Dispose();
        SnapshotInbox.Dispose();
        _entryServer.Dispose();
        _stopping.Dispose();
    }

    /// <summary>Serves a stream that a peer dialled.</summary>
    internal async Task AcceptAsync(
        IAsyncStreamReader<PeerEnvelope> reader, IServerStreamWriter<PeerEnvelope> writer, CancellationToken callEnded)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(callEnded, _stopping.Token);
        var hello = await ReadHelloAsync(reader, ended.Token);
        var link = Admit(hello);
        await writer.WriteAsync(new PeerEnvelope { Hello = _gate.Hello }, ended.Token);
        using var closed = link.Closed.UnsafeRegister(
            static state => ((CancellationTokenSource)state!).Cancel(), ended);
        await link.RunAsync(reader, writer, hello, ended.Token);
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
                await DialAsync(link, cancellationToken);
            }
            catch (Exception exception) when (exception is TimeoutException || PeerTransfer.IsBrokenCall(exception))
            {
                TransportEvents.DialFailed(_logger, link.Peer.Name, link.Peer.Address, exception.Message);
                if (exception is RpcException { StatusCode: StatusCode.FailedPrecondition } refusal)
                {
                    _gate.RefusedBy(link.Peer.Node, refusal.Status.Detail);
                }

                _gate.Unreachable(link.Peer.Node);
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                return;
            }

            // A peer that takes each stream and drops it at once is not dialled faster than one that is away.
            if (_time.GetElapsedTime(began) > GoodStream)
            {
                backoff.Reset();
            }

            await backoff.WaitAsync(cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            _metrics.PeerRedialed();
        }
    }

    /// <summary>Opens one stream and runs it until it breaks.</summary>
    private async Task DialAsync(PeerLink link, CancellationToken cancellationToken)
    {
        var address = link.Peer.Address;
        using var channel = PeerChannel.Open(address);
        using var call = new Peer.PeerClient(channel).Connect(cancellationToken: cancellationToken);
        await call.RequestStream.WriteAsync(new PeerEnvelope { Hello = _gate.Hello }, cancellationToken)
            .WaitAsync(HelloTimeout, _time, cancellationToken);
        var hello = await ReadHelloAsync(call.ResponseStream, cancellationToken);
        if (Admit(hello) != link)
        {
            throw new RpcException(new Status(
                StatusCode.FailedPrecondition,
                $"{address} answers as '{hello.Name}', not as '{link.Peer.Name}': "
                + "check service discovery."));
        }

        await link.RunAsync(call.ResponseStream, call.RequestStream, hello, cancellationToken);
    }

    private static async Task<PeerHello> ReadHelloAsync(
        IAsyncStreamReader<PeerEnvelope> reader, CancellationToken cancellationToken)
    {
        var arrived = await reader.MoveNext(cancellationToken).WaitAsync(HelloTimeout, cancellationToken);
        return arrived && reader.Current.Hello is { } hello
            ? hello
            : throw new RpcException(new Status(
                StatusCode.InvalidArgument,
                "The first envelope of a peer stream must hold a hello. Is this a broker's peer?"));
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
