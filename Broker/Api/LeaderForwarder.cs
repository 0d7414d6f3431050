using System.Collections.Concurrent;
using Broker.Cluster;
using Broker.Domain;
using Broker.Transport;

namespace Broker.Api;

/// <summary>Brings publishes that reached a follower to the leader, over one stream per node.</summary>
internal sealed class LeaderForwarder(BrokerNode node, TimeProvider time, ILogger<LeaderForwarder> logger)
    : IAsyncDisposable
{
    /// <summary>Marks the stream so that the leader's node does not forward again.</summary>
    public const string ForwardedHeader = "broker-forwarded";

    private readonly ConcurrentDictionary<NodeId, ForwardStream> _streams = new();
    private readonly ConcurrentBag<ForwardStream> _former = [];
    private readonly Lock _opening = new();

    private readonly ForwardedCalls _calls = new(
        Limits.ForwardedBytes,
        group => node.Group(group).Status,
        (group, seen, cancellationToken) => node.Group(group).WaitForChangeAsync(seen, cancellationToken),
        time);

    /// <summary>Counts a publish that this node does not lead; false: it was refused, as too much is held.</summary>
    public bool TryHold(PublishCall call) => call.TryBeHeldBy(_calls);

    /// <summary>
    /// The same for publishes that are sent by their caller, until <see cref="Leave"/>. They hear when another node
    /// leads than that to which they go.
    /// </summary>
    public bool TrySend(AtomicCall call, NodeId leader)
    {
        var isHeld = _calls.TryEnter(call);
        if (isHeld)
        {
            _calls.Sending(call, leader);
        }

        return isHeld;
    }

    public void Leave(AtomicCall call) => _calls.Leave(call);

    /// <summary>Sends a publish that is held.</summary>
    public void Forward(NodeId leader, PublishCall call)
    {
        _calls.Sending(call, leader);
        var peer = node.Directory.Find(leader);
        if (peer is null)
        {
            call.Fail(Refusal.NoLeader(call.Group));
            return;
        }

        if (!_streams.TryGetValue(leader, out var stream) || stream.Address != peer.Address)
        {
            stream = Open(peer);
        }

        stream.Send(call);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var stream in _streams.Values.Concat(_former))
        {
            await stream.DisposeAsync();
        }

        await _calls.DisposeAsync();
    }

    /// <summary>One a node, where it is now. What is on the way to where it was is answered there.</summary>
    private ForwardStream Open(PeerEndpoint peer)
    {
        lock (_opening)
        {
            if (_streams.TryGetValue(peer.Node, out var stream) && stream.Address == peer.Address)
            {
                return stream;
            }

            if (stream is not null)
            {
                _former.Add(stream);
            }

            return _streams[peer.Node] = new ForwardStream(peer, logger);
        }
    }
}
