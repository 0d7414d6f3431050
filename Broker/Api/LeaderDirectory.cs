using Broker.Cluster;
using Broker.Domain;
using Broker.Protocol.Wire;

namespace Broker.Api;

/// <summary>Who leads which group, in the words of the wire contract.</summary>
internal sealed class LeaderDirectory(BrokerNode node)
{
    private readonly Dictionary<NodeId, NodeAddress> _addresses = node.Options.Nodes.ToDictionary(
        known => known.Node,
        known => new NodeAddress
        {
            NodeId = (uint)known.Node.Value,
            Name = known.Name,
            Address = known.Address.ToString().TrimEnd('/'),
        });

    public NodeAddress Self => _addresses[node.Options.NodeId];

    /// <summary>Null when no leader is known.</summary>
    public NodeAddress? Of(GroupId group) => _addresses.GetValueOrDefault(node.Group(group).Status.Leader);
}
