using System.Collections.Concurrent;
using Broker.Domain;
using Broker.Protocol.V1;

namespace Broker.Cluster;

/// <summary>What this process has heard of a peer.</summary>
/// <param name="Name">Its name.</param>
/// <param name="StoreId">The disk that it last came with.</param>
/// <param name="ClusterId">The cluster that it said to belong to; null: none yet.</param>
/// <param name="ReplacesLostDisk">See <see cref="ClusterOptions.ReplacesLostDisk"/>.</param>
/// <param name="Address">Where it says that it is; empty: it has not.</param>
/// <param name="Roles">What it is for.</param>
/// <param name="ConnectedAt">Since when its stream has been open, by the node's clock; null: it is not.</param>
internal sealed record PeerSight(
    string Name,
    Guid StoreId,
    Guid? ClusterId,
    bool ReplacesLostDisk,
    string Address,
    NodeRoles Roles,
    DateTimeOffset? ConnectedAt);

/// <summary>
/// The nodes that this process has met, for the forming of the cluster and for the metadata group's leader to register.
/// </summary>
internal sealed class PeerRegister(TimeProvider time)
{
    private readonly ConcurrentDictionary<NodeId, PeerSight> _met = new();
    private readonly ConcurrentDictionary<NodeId, string> _refusals = new();

    public IReadOnlyCollection<KeyValuePair<NodeId, PeerSight>> Met => _met.ToArray();

    public void Seen(NodeId node, string name, Guid storeId, string address, NodeRoles roles) =>
        _met[node] = new PeerSight(name, storeId, null, ReplacesLostDisk: false, address, roles, ConnectedAt: null);

    public void Connected(NodeId node, PeerHello hello)
    {
        _refusals.TryRemove(node, out _);
        _met[node] = new PeerSight(
            hello.Name,
            Guid.ParseExact(hello.StoreId, "N"),
            Guid.TryParseExact(hello.ClusterId, "N", out var clusterId) ? clusterId : null,
            hello.ReplacesLostDisk,
            hello.Address,
            NodeRolesWords.OfWire(hello.Roles),
            time.GetUtcNow());
    }

    public void Disconnected(NodeId node)
    {
        if (_met.TryGetValue(node, out var sight))
        {
            _met[node] = sight with { ConnectedAt = null };
        }
    }

    public PeerSight? Find(NodeId node) => _met.GetValueOrDefault(node);

    /// <summary>A peer would not talk to this node, and said why.</summary>
    public void RefusedBy(NodeId node, string reason) => _refusals[node] = reason;

    /// <summary>
    /// What the peer said when it last refused this node; null when it has not, or has taken it since.
    /// </summary>
    public string? RefusalOf(NodeId node) => _refusals.GetValueOrDefault(node);
}
