using System.Collections.Immutable;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Transport;

namespace Broker.Cluster;

/// <summary>
/// The nodes of the cluster, and where they are as far as this node knows. It begins with what service discovery and
/// the disk say, follows the replicated members, and believes a peer that says where it is before all of them. A node
/// that is not reached is looked for at the other addresses that were ever told of it. Any thread.
/// </summary>
public sealed class NodeDirectory
{
    private readonly Lock _gate = new();
    private readonly NodeId _self;
    private readonly Dictionary<NodeId, List<Uri>> _addresses = [];
    private ImmutableSortedDictionary<int, PeerEndpoint> _nodes;
    private ClusterMembers _applied = ClusterMembers.Empty;
    private Action<IEnumerable<PeerEndpoint>>? _changed;

    public NodeDirectory(ClusterOptions options)
    {
        _self = options.NodeId;
        _nodes = options.Nodes.ToImmutableSortedDictionary(static node => node.Node.Value, static node => node);
        foreach (var node in options.Nodes)
        {
            _addresses[node.Node] = [node.Address];
        }
    }

    /// <summary>All nodes that are known, this one too, by number.</summary>
    public IReadOnlyList<PeerEndpoint> Nodes => [.. Volatile.Read(ref _nodes).Values];

    public PeerEndpoint? Find(NodeId id) => Volatile.Read(ref _nodes).GetValueOrDefault(id.Value);

    /// <summary>Called with all nodes after each change, by the thread that made it; it must not block.</summary>
    internal void OnChange(Action<IEnumerable<PeerEndpoint>> changed) => _changed = changed;

    /// <summary>The replicated members have changed: who is new is known, who was there and is no more is forgotten.
    /// </summary>
    internal void Apply(ClusterMembers members)
    {
        lock (_gate)
        {
            // A node that starts replays what it knows by now from elsewhere: only who has left is taken out, also who
            // had done so before the snapshot that it begins with.
            var next = _nodes.RemoveRange(_nodes.Keys.Where(number => HasLeft(members, new NodeId(number))));

            foreach (var member in members.Nodes.Values.Where(member => member.Id != _self))
            {
                next = Know(next, member, isNews: _applied.Find(member.Id) is { } before
                    && before.Address != member.Address);
            }

            _applied = members;
            Show(next);
        }
    }

    /// <summary>A member has told who the members are. It may know less than this node by now.</summary>
    internal void Learn(IEnumerable<(ClusterMember Member, string ClientAddress)> members)
    {
        lock (_gate)
        {
            var next = _nodes;
            foreach (var (member, clientAddress) in members.Where(
                each => each.Member.Id != _self && !HasLeft(_applied, each.Member.Id)))
            {
                next = ServeAt(Know(next, member, isNews: true), member.Id, clientAddress);
            }

            Show(next);
        }
    }

    /// <summary>A peer says where it is, for peers and for clients.</summary>
    internal void Heard(NodeId peer, string address, string clientAddress)
    {
        lock (_gate)
        {
            if (_nodes.TryGetValue(peer.Value, out var known) && TryRead(address) is { } uri)
            {
                Show(ServeAt(MoveTo(_nodes, known, uri), peer, clientAddress));
            }
        }
    }

    /// <summary>Nobody answers where a peer was thought to be: another address comes next, if there is one.</summary>
    internal void NotReached(NodeId peer)
    {
        lock (_gate)
        {
            if (_nodes.TryGetValue(peer.Value, out var known)
                && _addresses.TryGetValue(peer, out var addresses) && addresses.Count > 1)
            {
                var at = addresses.IndexOf(known.Address);
                Show(_nodes.SetItem(peer.Value, known with { Address = addresses[(at + 1) % addresses.Count] }));
            }
        }
    }

    /// <summary>It was a member once: no node gets its number again.</summary>
    private bool HasLeft(ClusterMembers members, NodeId node) =>
        node != _self && node.Value <= members.LastId && members.Find(node) is null;

    private static Uri? TryRead(string address) =>
        Uri.TryCreate(address, UriKind.Absolute, out var uri)
        && (uri.Scheme == Uri.UriSchemeHttp || uri.Scheme == Uri.UriSchemeHttps) ? uri : null;

    private ImmutableSortedDictionary<int, PeerEndpoint> Know(
        ImmutableSortedDictionary<int, PeerEndpoint> nodes, ClusterMember member, bool isNews)
    {
        if (TryRead(member.Address) is not { } uri)
        {
            return nodes;
        }

        if (!nodes.TryGetValue(member.Id.Value, out var known) || known.Name != member.Name)
        {
            _addresses[member.Id] = [uri];
            return nodes.SetItem(member.Id.Value, new PeerEndpoint(member.Id, member.Name, uri));
        }

        if (isNews)
        {
            return MoveTo(nodes, known, uri);
        }

        Remember(member.Id, uri);
        return nodes;
    }

    private ImmutableSortedDictionary<int, PeerEndpoint> MoveTo(
        ImmutableSortedDictionary<int, PeerEndpoint> nodes, PeerEndpoint known, Uri address)
    {
        Remember(known.Node, address);
        return known.Address == address
            ? nodes
            : nodes.SetItem(known.Node.Value, known with { Address = address });
    }

    /// <summary>
    /// Where clients reach a node; what it does not say stays as it was known. Each hears it of the node itself.
    /// </summary>
    private static ImmutableSortedDictionary<int, PeerEndpoint> ServeAt(
        ImmutableSortedDictionary<int, PeerEndpoint> nodes, NodeId node, string clientAddress) =>
        TryRead(clientAddress) is { } uri && nodes.TryGetValue(node.Value, out var known) && known.ClientAddress != uri
            ? nodes.SetItem(node.Value, known with { ClientAddress = uri })
            : nodes;

    private void Remember(NodeId node, Uri address)
    {
        var addresses = _addresses[node];
        if (!addresses.Contains(address))
        {
            if (addresses.Count == Limits.AddressesPerNode)
            {
                addresses.RemoveAt(0);
            }

            addresses.Add(address);
        }
    }

    private void Show(ImmutableSortedDictionary<int, PeerEndpoint> next)
    {
        if (!ReferenceEquals(next, _nodes))
        {
            Volatile.Write(ref _nodes, next);
            _changed?.Invoke(next.Values);
        }
    }
}
