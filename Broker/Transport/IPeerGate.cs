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

    /// <summary>A peer does not talk to this node, and says why.</summary>
    void RefusedBy(NodeId peer, string reason);

    /// <summary>What one envelope has brought. The list is the caller's again afterwards.</summary>
    void Received(IReadOnlyList<PeerMessage> messages);

    void Connected(NodeId peer, PeerHello hello);

    /// <summary>A peer cannot be reached at the address that it is known by.</summary>
    void Unreachable(NodeId peer);

    void Disconnected(NodeId peer);

    /// <summary>
    /// The term that this node's replica of a group has reached; null when it has no such group. A leader of an older
    /// term is told so before it sends its snapshot.
    /// </summary>
    Term? TermOf(GroupId group);

    /// <summary>
    /// A snapshot has arrived as a whole and its checksum fits. done, called once from any thread, says whether it is
    /// durable and in use (or the log holds all of it already), and the term of this replica.
    /// </summary>
    void SnapshotReceived(PeerMessage message, ReadOnlyMemory<byte> data, Action<bool, long> done);

    /// <summary>What this node's replicas have and lack; nothing while it takes no part in a cluster.</summary>
    DescribeReplicasResponse DescribeReplicas();

    /// <summary>Where a group's committed entries are read for a peer; null when there is no such group.</summary>
    IEntrySource? FindEntries(GroupId group);

    /// <summary>A node says who it is and where; see peer.proto.</summary>
    Task<RegisterResponse> RegisterAsync(PeerHello from, CancellationToken cancellationToken);

    /// <summary>Commits a command of a peer's in the metadata group; see peer.proto.</summary>
    Task<ChangeMetadataResponse> ChangeMetadataAsync(
        ReadOnlyMemory<byte> command, CancellationToken cancellationToken);

    /// <summary>How far a group is that this node leads; see peer.proto.</summary>
    Task<ReadIndexResponse> ReadIndexAsync(GroupId group, CancellationToken cancellationToken);
}
