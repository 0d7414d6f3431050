using Broker.Cluster;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Transport;

namespace Broker.Api;

/// <summary>The data nodes that a dedicated controller reaches: each of them serves all topics.</summary>
internal sealed class DataNodes(BrokerNode node)
{
    private readonly ByTurns _turns = new();

    /// <summary>In the order in which to try them, another one first each time. Any thread.</summary>
    public IReadOnlyList<PeerEndpoint> List() => _turns.List(node, node.Metadata.Members.Nodes.Values
        .Where(static each => each.State == MemberState.Member && each.Roles.HasFlag(NodeRoles.Data))
        .Select(static each => each.Id));

    /// <summary>Why a call about topics is refused here.</summary>
    public BrokerException WhyNone() => node.Obstacle.Length > 0
        ? Refusal.NotFormed(node.Obstacle)
        : Refusal.NoDataNode(
            node.Options.NodeName,
            [.. node.Metadata.Members.Nodes.Values.Where(static each => each.Roles.HasFlag(NodeRoles.Data))
                .Select(each => node.Directory.Find(each.Id) is { ClientAddressText: { Length: > 0 } address }
                    ? $"{each.Name} at {address}"
                    : each.Name)]);
}

/// <summary>Nodes to be asked one after the other, beginning with another one each time. Any thread.</summary>
internal sealed class ByTurns
{
    private uint _turn;

    /// <summary>Those of them that are reached now.</summary>
    public IReadOnlyList<PeerEndpoint> List(BrokerNode node, IEnumerable<NodeId> nodes)
    {
        PeerEndpoint[] able = [.. nodes.Where(node.IsConnected).Select(node.Directory.Find).OfType<PeerEndpoint>()];
        var first = able.Length == 0 ? 0 : (int)(Interlocked.Increment(ref _turn) % (uint)able.Length);
        return [.. able[first..], .. able[..first]];
    }
}
