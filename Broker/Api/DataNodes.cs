using Broker.Cluster;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Transport;

namespace Broker.Api;

/// <summary>The data nodes that a dedicated controller reaches: each of them serves all topics.</summary>
internal sealed class DataNodes(BrokerNode node)
{
    private uint _turn;

    /// <summary>In the order in which to try them, another one first each time. Any thread.</summary>
    public IReadOnlyList<PeerEndpoint> List()
    {
        PeerEndpoint[] able = [.. node.Metadata.Members.Nodes.Values
            .Where(each => each.State == MemberState.Member && each.Roles.HasFlag(NodeRoles.Data)
                && node.IsConnected(each.Id))
            .Select(each => node.Directory.Find(each.Id)).OfType<PeerEndpoint>()];
        var first = able.Length == 0 ? 0 : (int)(Interlocked.Increment(ref _turn) % (uint)able.Length);
        return [.. able[first..], .. able[..first]];
    }

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
