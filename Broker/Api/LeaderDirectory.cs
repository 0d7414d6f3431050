using System.Collections.Concurrent;
using Broker.Cluster;
using Broker.Domain;
using Broker.Protocol.Wire;
using Broker.Transport;

namespace Broker.Api;

/// <summary>Who leads which group, in the words of the wire contract.</summary>
internal sealed class LeaderDirectory(BrokerNode node)
{
    /// <summary>One of each node as it is known, so that an answer makes none.</summary>
    private readonly ConcurrentDictionary<PeerEndpoint, NodeAddress> _addresses = new();

    public NodeAddress Self => AddressOf(node.Options.NodeId)!;

    /// <summary>Null when no leader is known.</summary>
    public NodeAddress? Of(GroupId group) => AddressOf(node.Group(group).Status.Leader);

    private NodeAddress? AddressOf(NodeId id) => node.Directory.Find(id) is not { } known
        ? null
        : _addresses.GetOrAdd(known, static each => new NodeAddress
        {
            NodeId = (uint)each.Node.Value,
            Name = each.Name,
            Address = each.ClientAddressText,
        });
}
