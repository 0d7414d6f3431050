using Broker.Domain;
using Broker.Protocol.V1;

namespace Broker.Transport;

/// <summary>What the transport needs of the node above it. Called by many threads; must not block.</summary>
public interface IPeerGate
{
    /// <summary>What this node says of itself when a stream opens.</summary>
    PeerHello Hello { get; }

    /// <summary>Whether a node may talk to us; otherwise the reason, in words for its operator.</summary>
    bool Admits(PeerHello hello, out string reason);

    void Received(PeerMessage message);

    void Connected(NodeId peer, PeerHello hello);

    void Disconnected(NodeId peer);
}
