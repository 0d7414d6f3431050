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
    private readonly Dictionary<NodeId, PeerLink> _links;
    private readonly PeerLink[] _allLinks;
    private readonly CancellationTokenSource _stopping = new();
    private readonly List<Task> _dialers = [];
    private readonly TimeProvider _time;
    private readonly SnapshotReceiver _snapshotReceiver;
    private readonly EntryServer _entryServer;
    private readonly EntryFetcher _entryFetcher;

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
        _links = peers.Where(peer => peer.Node != self)
            .ToDictionary(peer => peer.Node, peer => new PeerLink(self, peer, gate, metrics, logger, _time));
        _allLinks = [.. _links.Values];
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
        foreach (var link in _links.Values.Where(link => link.Peer.Node.Value > _self.Value))
        {
            _dialers.Add(Task.Run(() => DialForeverAsync(link, _stopping.Token)));
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
        foreach (var link in _allLinks)
        {
            link.Flush();
        }
    }

    /// <summary>Ends all streams, so that the server which carries them can stop.</summary>
    public void CloseStreams() => _stopping.Cancel();

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        await Task.WhenAll(_dialers);
        foreach (var link in _links.Values)
        {
            link.Dispose();
        }

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
        await link.RunAsync(reader, writer, hello, ended.Token);
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
        using var channel = PeerChannel.Open(link.Peer.Address);
        using var call = new Peer.PeerClient(channel).Connect(cancellationToken: cancellationToken);
        await call.RequestStream.WriteAsync(new PeerEnvelope { Hello = _gate.Hello }, cancellationToken)
            .WaitAsync(HelloTimeout, _time, cancellationToken);
        var hello = await ReadHelloAsync(call.ResponseStream, cancellationToken);
        if (Admit(hello) != link)
        {
            throw new RpcException(new Status(
                StatusCode.FailedPrecondition,
                $"{link.Peer.Address} answers as '{hello.Name}', not as '{link.Peer.Name}': "
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
