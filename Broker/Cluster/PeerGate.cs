using Broker.ClusterState;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Replication;
using Broker.Storage;
using Broker.Transport;

namespace Broker.Cluster;

/// <summary>
/// Decides who may talk to this node, and hands what peers say to the groups. A node that comes back with an empty disk
/// under its old number is refused: it has forgotten its votes and its log, so counting it again could lose what was
/// acknowledged.
/// </summary>
internal sealed class PeerGate(
    ClusterOptions options,
    NodeStore store,
    MetadataStateMachine metadata,
    PeerRegister register,
    NodeDirectory directory) : IPeerGate
{
    public const uint ProtocolVersion = 4;

    private readonly string _address = directory.Find(options.NodeId)?.Address.ToString().TrimEnd('/') ?? "";
    private readonly string _clientAddress = directory.Find(options.NodeId)?.ClientAddressText ?? "";
    private Func<PeerHello, CancellationToken, Task<RegisterResponse>>? _register;
    private Func<ReadOnlyMemory<byte>, CancellationToken, Task<ChangeMetadataResponse>>? _changeMetadata;

    private Dictionary<int, ReplicaGroup> _groups = [];
    private Dictionary<int, GroupEntries> _entries = [];

    /// <summary>Nothing reaches the groups before the node takes part in its cluster.</summary>
    private volatile bool _isOpen;

    public PeerHello Hello => new()
    {
        ProtocolVersion = ProtocolVersion,
        NodeId = (uint)options.NodeId.Value,
        Name = options.NodeName,
        ClusterId = store.ClusterId?.ToString("N") ?? "",
        StoreId = store.StoreId.ToString("N"),
        DataShards = (uint)options.DataShards,
        ReplacesLostDisk = options.ReplacesLostDisk
            && metadata.Current.FindNode(options.NodeId)?.StoreId != store.StoreId,
        Address = _address,
        ClientAddress = _clientAddress,
        Roles = (uint)options.Roles,
    };

    public void Open() => _isOpen = true;

    /// <summary>The groups, and the log of each at the same place.</summary>
    public void Attach(IReadOnlyList<ReplicaGroup> groups, IReadOnlyList<GroupLog> logs)
    {
        _entries = groups.Zip(logs).ToDictionary(
            pair => pair.First.Id.Value, pair => new GroupEntries(pair.Second, pair.First));
        _groups = groups.ToDictionary(group => group.Id.Value);
    }

    /// <summary>Who answers what peers ask beside the streams.</summary>
    public void Attach(
        Func<PeerHello, CancellationToken, Task<RegisterResponse>> register,
        Func<ReadOnlyMemory<byte>, CancellationToken, Task<ChangeMetadataResponse>> changeMetadata) =>
        (_register, _changeMetadata) = (register, changeMetadata);

    public bool Admits(PeerHello hello, out string reason)
    {
        reason = WhyNot(hello);
        return reason.Length == 0;
    }

    public void Received(IReadOnlyList<PeerMessage> messages)
    {
        using var batch = InputBatch.Begin();
        for (var i = 0; _isOpen && i < messages.Count; i++)
        {
            if (_groups.TryGetValue((int)messages[i].Group, out var group))
            {
                group.Receive(messages[i]);
            }
        }
    }

    public void Connected(NodeId peer, PeerHello hello)
    {
        register.Connected(peer, hello);
        directory.Heard(peer, hello.Address, hello.ClientAddress);
        if (_isOpen)
        {
            foreach (var group in _groups.Values)
            {
                group.PeerReachable(peer);
            }
        }
    }

    public void Disconnected(NodeId peer)
    {
        register.Disconnected(peer);
        if (_isOpen)
        {
            foreach (var group in _groups.Values)
            {
                group.PeerUnreachable(peer);
            }
        }
    }

    public void Unreachable(NodeId peer) => directory.NotReached(peer);

    public void RefusedBy(NodeId peer, string reason) => register.RefusedBy(peer, reason);

    public Task<RegisterResponse> RegisterAsync(PeerHello from, CancellationToken cancellationToken) =>
        _register!(from, cancellationToken);

    public Task<ChangeMetadataResponse> ChangeMetadataAsync(
        ReadOnlyMemory<byte> command, CancellationToken cancellationToken) =>
        _changeMetadata!(command, cancellationToken);

    public async Task<ReadIndexResponse> ReadIndexAsync(GroupId group, CancellationToken cancellationToken)
    {
        try
        {
            return _isOpen && _groups.TryGetValue(group.Value, out var replica)
                ? new ReadIndexResponse { Index = (await replica.ReadIndexAsync(cancellationToken)).Value }
                : throw Refusal.NoLeader(group);
        }
        catch (BrokerException refusal)
        {
            return new ReadIndexResponse { Code = (uint)refusal.Code, Message = refusal.Message };
        }
    }

    public Term? TermOf(GroupId group) =>
        _groups.TryGetValue(group.Value, out var replica) ? replica.Status.Term : null;

    public void SnapshotReceived(PeerMessage message, ReadOnlyMemory<byte> data, Action<bool, long> done)
    {
        if (_isOpen && _groups.TryGetValue((int)message.Group, out var group))
        {
            group.ReceiveSnapshot(message, data, done);
        }
        else
        {
            done(false, 0);
        }
    }

    public DescribeReplicasResponse DescribeReplicas()
    {
        var response = new DescribeReplicasResponse();
        if (_isOpen)
        {
            response.Replicas.AddRange(_groups.Values.Select(static group => ReplicaFacts.ToWire(group.Status)));
        }

        return response;
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

        if (directory.Find(node)?.Name != hello.Name)
        {
            return store.IsFounded
                ? $"Node {node} ('{hello.Name}') is no member of this cluster."
                : $"Node {node} is not '{hello.Name}' here. Give every node the same list of brokers.";
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

        if (metadata.Members.Find(node) is { } member && member.Roles != NodeRolesWords.OfWire(hello.Roles))
        {
            return $"'{hello.Name}' comes with the roles '{NodeRolesWords.OfWire(hello.Roles).InWords()}', but this "
                + $"cluster knows it as '{member.Roles.InWords()}'. Set its Broker__Roles back.";
        }

        return WhyNotWithDisk(node, hello, storeId);
    }

    /// <summary>
    /// The pinned disk counts from the first meeting on, the registered one before it and after a replacement.
    /// </summary>
    private string WhyNotWithDisk(NodeId node, PeerHello hello, Guid storeId)
    {
        var cluster = metadata.Current;
        if (cluster.RetiredStores.Contains(storeId))
        {
            return $"'{hello.Name}' comes with a disk ({storeId:N}) that another one has replaced, by its operator's "
                + "word. Stop it, and start it with the disk that took its place.";
        }

        var pinned = store.PinnedStore(node);
        var known = pinned is null || cluster.RetiredStores.Contains(pinned.Value)
            ? cluster.FindNode(node)?.StoreId
            : pinned;
        if (known is null || known == storeId || hello.ReplacesLostDisk)
        {
            if (store.IsFounded)
            {
                store.PinPeer(node, storeId);
            }

            return "";
        }

        return $"'{hello.Name}' comes with another disk ({storeId:N}) than the one this cluster knows ({known:N}), and "
            + "it knows nothing of what that one has promised. If the old disk is there, start the node with it. If it "
            + $"is gone for good, start '{hello.Name}' once with an empty folder and Broker__ReplaceLostDisk=true, and "
            + "never start the old disk again.";
    }
}
