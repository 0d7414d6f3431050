using System.Buffers;
using System.Text;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Replication;
using Broker.Storage;
using Grpc.Core;

namespace Broker.Cluster;

/// <summary>
/// Who may become a member: nodes that ask, and nodes that an operator names. Both lead to the same command, and a node
/// that asks again, or is named again, is answered as before.
/// </summary>
internal sealed class Admission(BrokerNode node, NodeStore store, ILogger logger)
{
    private const uint ProtocolVersion = PeerGate.ProtocolVersion;

    /// <summary>How long to wait until the own replica has applied what the leader has.</summary>
    private static readonly TimeSpan ApplyWait = TimeSpan.FromSeconds(2);

    /// <summary>A node says who it is and where; see peer.proto.</summary>
    public async Task<RegisterResponse> RegisterAsync(PeerHello from, CancellationToken cancellationToken)
    {
        if (store.ClusterId is not { } clusterId || node.Obstacle.Length > 0)
        {
            throw NotYet();
        }

        if (!Guid.TryParseExact(from.StoreId, "N", out var storeId))
        {
            return No($"'{from.Name}' sent no store id.");
        }

        if (node.Metadata.Current.RetiredStores.Contains(storeId))
        {
            var no = No(
                $"The disk of '{from.Name}' ({storeId:N}) is no part of cluster {clusterId:N} any more: the node was "
                + "removed, or another disk took its place. To have the node join anew, give it an empty folder and "
                + "start it with Broker__Join.");
            no.Removed = true;
            return no;
        }

        if (WhyNot(from, clusterId) is { } reason)
        {
            return No(reason);
        }

        var self = new NodeId((int)from.NodeId);
        var isOfItsCluster = from.ClusterId.Length > 0 || node.Metadata.Current.FindNode(self)?.StoreId == storeId;
        if (isOfItsCluster && node.Directory.Find(self)?.Name == from.Name)
        {
            // A member says where it is. That must not need a leader: after a start of all at other addresses none is
            // found before they find each other. The leader writes it down when it meets the node.
            node.Directory.Heard(self, from.Address, from.ClientAddress);
            return Describe(clusterId, self, isLost: false);
        }

        if (from.ClusterId.Length == 0 && !self.IsNone)
        {
            return No(
                $"The disk of '{from.Name}' ({storeId:N}) began as node {self} of a cluster whose id it had not heard "
                + $"yet, and cluster {clusterId:N} does not know it. If it is the right one, wait until its first "
                + "peers have met it; else give it an empty folder.");
        }

        if (!node.Metadata.Members.IsKnown)
        {
            throw NotYet();
        }

        try
        {
            var (id, isLost) = await TakeInAsync(from, storeId, cancellationToken);
            return Describe(clusterId, id, isLost);
        }
        catch (BrokerException refusal) when (refusal.Code is RefusalCode.FailedPrecondition
            or RefusalCode.ResourceExhausted or RefusalCode.InvalidArgument)
        {
            return No(refusal.Message);
        }
        catch (BrokerException refusal)
        {
            throw new RpcException(new Status(StatusCode.Unavailable, refusal.Message));
        }
    }

    /// <summary>
    /// An operator names a node and its address, and maybe the roles that it is to have; answers its number.
    /// </summary>
    public async Task<NodeId> AddAsync(
        string name, Uri address, NodeRoles? roles, CancellationToken cancellationToken)
    {
        var clusterId = store.ClusterId ?? throw Refusal.NotFormed("The cluster has not formed yet.");
        var known = node.Metadata.Members.Find(name);
        PeerHello hello;
        try
        {
            hello = await node.Transport.InviteAsync(
                address,
                name,
                node.Directory.Nodes.Select(static each => each.Address.ToString().TrimEnd('/')),
                cancellationToken);
        }
        catch (RpcException failure)
        {
            throw Refusal.NodeUnreachable(name, address, failure.Status.Detail);
        }

        if (hello.Name != name)
        {
            throw Refusal.FailedPrecondition(
                $"{address} answers as '{hello.Name}', not as '{name}'. Nothing was changed; check both.");
        }

        if (roles is { } wanted && wanted != NodeRolesWords.OfWire(hello.Roles))
        {
            throw Refusal.FailedPrecondition(
                $"'{name}' was started with the roles '{NodeRolesWords.OfWire(hello.Roles).InWords()}', not as "
                + $"'{wanted.InWords()}'. Nothing was changed; start it with Broker__Roles={wanted.InWords()} and an "
                + "empty folder, or leave role out.");
        }

        if (hello.ClusterId.Length == 0 && hello.NodeId != 0)
        {
            throw Refusal.FailedPrecondition(
                $"'{name}' has an empty disk, but waits for others to form a new cluster with. Start it with "
                + "Broker__Join=invitation (or with the addresses of members), and add it then.");
        }

        if (hello.ClusterId.Length > 0 && known is null && hello.ClusterId == clusterId.ToString("N"))
        {
            throw Refusal.FailedPrecondition(
                $"The disk of '{name}' was a member of this cluster and was removed. Give the node an empty folder.");
        }

        hello.Address = address.ToString();
        if (WhyNot(hello, clusterId) is { } reason)
        {
            throw Refusal.FailedPrecondition(reason);
        }

        if (!Guid.TryParseExact(hello.StoreId, "N", out var storeId))
        {
            throw Refusal.FailedPrecondition($"'{name}' at {address} sent no store id.");
        }

        return (await TakeInAsync(hello, storeId, cancellationToken)).Id;
    }

    private RpcException NotYet() => new(new Status(
        StatusCode.Unavailable, $"{node.Options.NodeName} takes no part in a cluster yet itself."));

    private static RegisterResponse No(string reason) => new() { Refusal = reason };

    private static string? WhyNot(PeerHello from, Guid clusterId)
    {
        if (from.ProtocolVersion != ProtocolVersion)
        {
            return $"'{from.Name}' speaks version {from.ProtocolVersion} of the peer protocol; this cluster speaks "
                + $"{ProtocolVersion}. Run the same release on all nodes.";
        }

        if (from.Name.Length == 0 || Encoding.UTF8.GetByteCount(from.Name) > Limits.TopicNameBytes)
        {
            return $"A node's name has 1 to {Limits.TopicNameBytes} bytes.";
        }

        if (!NodeRolesWords.OfWire(from.Roles).AreValid())
        {
            return $"'{from.Name}' has roles that this release does not know. Run the same release on all nodes.";
        }

        if (!Uri.TryCreate(from.Address, UriKind.Absolute, out _) || from.Address.Length > Limits.TopicNameBytes)
        {
            return $"'{from.Name}' says that its peers reach it at '{from.Address}', which is no address of up to "
                + $"{Limits.TopicNameBytes} bytes.";
        }

        return from.ClusterId.Length > 0 && from.ClusterId != clusterId.ToString("N")
            ? $"'{from.Name}' belongs to cluster {from.ClusterId}, not to {clusterId:N}."
            : null;
    }

    /// <summary>
    /// The number of a node that is a member from now on, if it was none before; and whether its disk takes the place
    /// of a lost one. A disk that is to take the place of a member's promises nothing until the others know it as lost.
    /// </summary>
    private async Task<(NodeId Id, bool IsLost)> TakeInAsync(
        PeerHello from, Guid storeId, CancellationToken cancellationToken)
    {
        var members = node.Metadata.Members;
        var roles = NodeRolesWords.OfWire(from.Roles);
        if (members.Find(from.Name) is { } known)
        {
            if (known.Roles != roles)
            {
                throw Refusal.FailedPrecondition(
                    $"'{from.Name}' was started with the roles '{roles.InWords()}', but node {known.Id} of this name "
                    + $"is '{known.Roles.InWords()}'. A member keeps its roles: set Broker__Roles back, or remove node "
                    + $"{known.Id} (RemoveNode) and have this one join as a new one.");
            }

            var disk = node.Metadata.Current.FindNode(known.Id)?.StoreId;
            if (disk != storeId)
            {
                await ReplaceDiskAsync(known, from, storeId, disk, cancellationToken);
            }
            else if (known.Address != Trimmed(from.Address))
            {
                await ChangeAsync(
                    into => MemberCommands.WriteMoved(into, known.Id, Trimmed(from.Address)), cancellationToken);
            }

            // One that was a voter everywhere, and knows of no cluster, has lost what it promised.
            return (known.Id, from.ClusterId.Length == 0 && (known.State != MemberState.Joining || disk != storeId));
        }

        if (from.ClusterId.Length > 0)
        {
            throw Refusal.FailedPrecondition($"'{from.Name}' is no member of this cluster.");
        }

        if (members.Changing is { } other)
        {
            throw Refusal.FailedPrecondition(
                $"{other.Name} (node {other.Id}) is {other.State.ToString().ToLowerInvariant()} at "
                + "the moment, and members change one at a time; again when that is over.");
        }

        var result = await ChangeAsync(
            into => MemberCommands.WriteJoined(into, storeId, from.Name, Trimmed(from.Address), roles),
            cancellationToken);
        if (result.Code == RefusalCode.ResourceExhausted)
        {
            throw Refusal.Exhausted($"A cluster has at most {GroupConfiguration.MaxMembers} members.");
        }

        if (result.Code != RefusalCode.None)
        {
            throw Refusal.FailedPrecondition(
                $"'{from.Name}' cannot join now: another change of members began a moment ago, or its name or its "
                + "disk is a member's. Again when that is over.");
        }

        var id = new NodeId((int)result.BaseOffset);
        ClusterEvents.MemberJoining(logger, id.Value, from.Name, Trimmed(from.Address));
        await WaitAsync(() => node.Metadata.Members.Find(id) is not null, cancellationToken);
        return (id, false);
    }

    private async Task ReplaceDiskAsync(
        ClusterMember known, PeerHello from, Guid storeId, Guid? disk, CancellationToken cancellationToken)
    {
        if (!from.ReplacesLostDisk || known.State is not (MemberState.Member or MemberState.Evicted))
        {
            throw Refusal.FailedPrecondition(
                $"'{known.Name}' is a member of this cluster (node {known.Id}) with another disk ({disk:N}). If that "
                + "is there, start the node with it. If it is gone for good, start the node once with an empty folder "
                + $"and Broker__ReplaceLostDisk=true, or remove node {known.Id} and have this one join as a new one.");
        }

        var result = await ChangeAsync(
            into => ClusterCommands.WriteNodeReplaced(into, new NodeRegistration(known.Id, known.Name, storeId)),
            cancellationToken);
        if (result.Code != RefusalCode.None)
        {
            throw Refusal.FailedPrecondition($"The disk of '{known.Name}' cannot be replaced by {storeId:N} now.");
        }
    }

    private async Task<CommandResult> ChangeAsync(
        Action<IBufferWriter<byte>> write, CancellationToken cancellationToken)
    {
        var command = new ArrayBufferWriter<byte>();
        write(command);
        return await node.ChangeMetadataAsync(command.WrittenMemory, cancellationToken);
    }

    private async Task WaitAsync(Func<bool> holds, CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(ApplyWait);
        await node.WaitForMetadataAsync(holds, patience.Token).ConfigureAwait(
            ConfigureAwaitOptions.SuppressThrowing);
    }

    private RegisterResponse Describe(Guid clusterId, NodeId id, bool isLost)
    {
        var members = node.Metadata.Members;
        var response = new RegisterResponse
        {
            ClusterId = clusterId.ToString("N"),
            NodeId = (uint)id.Value,
            BeginsAsLost = isLost,
            DataShards = (uint)node.Options.DataShards,
        };
        var founders = members.IsKnown ? members.ListFounders() : node.Founders;
        response.Founders.AddRange(founders.Select(static founder => (uint)founder.Node.Value));
        response.FounderRoles.AddRange(founders.Select(static founder => (uint)founder.Roles));
        response.Members.AddRange(node.Directory.Nodes.Select(static each => new PeerMember
        {
            NodeId = (uint)each.Node.Value,
            Name = each.Name,
            Address = each.Address.ToString(),
            ClientAddress = each.ClientAddressText,
        }));
        return response;
    }

    private static string Trimmed(string address) => address.TrimEnd('/');
}
