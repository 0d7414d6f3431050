using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Replication;
using Broker.Storage;
using Broker.Topics;
using Broker.Transport;

namespace Broker.Cluster;

/// <summary>
/// Decides who may talk to this node, and hands what peers say to the groups. A node that comes back with an empty disk
/// under its old number is refused: it has forgotten its votes and its log, so counting it again could lose what was
/// acknowledged.
/// </summary>
internal sealed class PeerGate(
    ClusterOptions options, NodeStore store, MetadataStateMachine metadata, PeerRegister register) : IPeerGate
{
    private const uint ProtocolVersion = 2;

    private Dictionary<int, ReplicaGroup> _groups = [];
    private Dictionary<int, GroupEntries> _entries = [];

    public PeerHello Hello => new()
    {
        ProtocolVersion = ProtocolVersion,
        NodeId = (uint)options.NodeId.Value,
        Name = options.NodeName,
        ClusterId = store.ClusterId?.ToString("N") ?? "",
        StoreId = store.StoreId.ToString("N"),
        DataShards = (uint)options.DataShards,
    };

    /// <summary>The groups, and the log of each at the same place.</summary>
    public void Attach(IReadOnlyList<ReplicaGroup> groups, IReadOnlyList<GroupLog> logs)
    {
        _entries = groups.Zip(logs).ToDictionary(
            pair => pair.First.Id.Value, pair => new GroupEntries(pair.Second, pair.First));
        _groups = groups.ToDictionary(group => group.Id.Value);
    }

    public bool Admits(PeerHello hello, out string reason)
    {
        reason = WhyNot(hello);
        return reason.Length == 0;
    }

    public void Received(IReadOnlyList<PeerMessage> messages)
    {
        using var batch = InputBatch.Begin();
        for (var i = 0; i < messages.Count; i++)
        {
            if (_groups.TryGetValue((int)messages[i].Group, out var group))
            {
                group.Receive(messages[i]);
            }
        }
    }

    public void Connected(NodeId peer, PeerHello hello)
    {
        register.Seen(peer, hello.Name, Guid.ParseExact(hello.StoreId, "N"));
        foreach (var group in _groups.Values)
        {
            group.PeerReachable(peer);
        }
    }

    public void Disconnected(NodeId peer)
    {
        foreach (var group in _groups.Values)
        {
            group.PeerUnreachable(peer);
        }
    }

    public Term? TermOf(GroupId group) =>
        _groups.TryGetValue(group.Value, out var replica) ? replica.Status.Term : null;

    public void SnapshotReceived(PeerMessage message, ReadOnlyMemory<byte> data, Action<bool, long> done)
    {
        if (_groups.TryGetValue((int)message.Group, out var group))
        {
            group.ReceiveSnapshot(message, data, done);
        }
        else
        {
            done(false, 0);
        }
    }

    public IEntrySource? FindEntries(GroupId group) => _entries.GetValueOrDefault(group.Value);

    private string WhyNot(PeerHello hello)
    {
        var node = new NodeId((int)hello.NodeId);
        if (hello.ProtocolVersion != ProtocolVersion)
        {
            return $"'{hello.Name}' speaks version {hello.ProtocolVersion} of the peer protocol; "
                + $"'{options.NodeName}' speaks {ProtocolVersion}. Run the same release on all nodes.";
        }

        if (!options.Nodes.Any(known => known.Node == node && known.Name == hello.Name))
        {
            return $"Node {node} is not '{hello.Name}' here. Give every node the same list of brokers.";
        }

        if (hello.DataShards != options.DataShards)
        {
            return $"'{hello.Name}' has {hello.DataShards} data shards, '{options.NodeName}' has {options.DataShards}. "
                + "Give all nodes the same Broker:DataShards.";
        }

        if (hello.ClusterId.Length > 0 && store.ClusterId is { } mine && hello.ClusterId != mine.ToString("N"))
        {
            return $"'{hello.Name}' belongs to cluster {hello.ClusterId}, '{options.NodeName}' to {mine:N}. "
                + "One of them has another cluster's disk or another cluster's address.";
        }

        if (!Guid.TryParseExact(hello.StoreId, "N", out var storeId))
        {
            return $"'{hello.Name}' sent no store id.";
        }

        // The registered disk counts for nodes that this one has not met yet; the pinned one from the first meeting on.
        var known = metadata.Current.FindNode(node)?.StoreId ?? storeId;
        if (known == storeId && store.TryPinPeer(node, storeId, out known))
        {
            return "";
        }

        return $"'{hello.Name}' comes with another disk ({storeId:N}) than the one this cluster knows ({known:N}). "
            + "A node that lost its disk has lost its votes and its log, and must not be counted under its old "
            + "number. Give it its old disk back.";
    }
}
