using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Replication;
using Grpc.Core;

namespace Broker.Cluster;

/// <summary>Changes of the metadata from any node, of who belongs to the cluster, and of who leads.</summary>
public sealed partial class BrokerNode
{
    private static readonly TimeSpan LookInterval = TimeSpan.FromMilliseconds(20);

    /// <summary>Who the nodes are, and where.</summary>
    public NodeDirectory Directory { get; }

    /// <summary>This node's disk was taken out of the cluster: it serves nothing any more.</summary>
    public bool IsRemoved => _removal.Length > 0;

    /// <summary>Cancelled when the node was removed.</summary>
    public CancellationToken Removed => _removed.Token;

    /// <summary>What this node says of itself to its peers.</summary>
    internal PeerHello Hello => _gate.Hello;

    /// <summary>Where a group is to be led: where its operator wants it, or by turns over the members.</summary>
    public NodeId PreferredLeaderOf(GroupId group) => _balancer.PreferredLeaderOf(group);

    /// <summary>Takes a node in that waits at an address; answers its number. Any node.</summary>
    public Task<NodeId> AddMemberAsync(
        string name, Uri address, NodeRoles? roles, CancellationToken cancellationToken) =>
        _admission.AddAsync(name, address, roles, cancellationToken);

    /// <summary>Takes a member out; completes when it has left every group. Any node.</summary>
    public Task RemoveMemberAsync(NodeId id, CancellationToken cancellationToken) =>
        _departure.RemoveAsync(id, cancellationToken);

    /// <summary>
    /// Has a member lead nothing from now on, or lead again; answers what it still leads. Any node. See
    /// <see cref="Departure.DrainAsync"/>.
    /// </summary>
    public Task<IReadOnlyList<GroupId>> DrainMemberAsync(
        NodeId id, bool drains, CancellationToken cancellationToken) =>
        _departure.DrainAsync(id, drains, cancellationToken);

    /// <summary>Moves leadership of a group that this node leads; answers who leads then, and in which term.</summary>
    public Task<(NodeId Leader, Term Term)> MoveLeadershipAsync(
        GroupId id, NodeId to, CancellationToken cancellationToken) =>
        _handOver.MoveAsync(id, to, cancellationToken);

    /// <summary>Commits a command in the metadata group, wherever that is led.</summary>
    public async Task<CommandResult> ChangeMetadataAsync(
        ReadOnlyMemory<byte> command, CancellationToken cancellationToken)
    {
        var leader = await WaitForLeaderAsync(GroupId.Metadata, cancellationToken);
        if (leader == Options.NodeId)
        {
            return await ProposeMetadataAsync(command, cancellationToken);
        }

        var answer = await AskMetadataLeaderAsync(leader, command, cancellationToken);
        return new CommandResult
        {
            Code = (RefusalCode)answer.Code,
            Duplicate = answer.Duplicate,
            BaseOffset = answer.BaseOffset,
        };
    }

    /// <summary>Has the own replica of the metadata miss nothing that was committed when this was called.</summary>
    internal Task CatchUpMetadataAsync(CancellationToken cancellationToken) =>
        CatchUpAsync(GroupId.Metadata, cancellationToken);

    /// <summary>Waits until something holds of what the own replica has applied; refuses when the caller must wait too
    /// long for a leader.</summary>
    internal async Task WaitForMetadataAsync(Func<bool> holds, CancellationToken cancellationToken)
    {
        while (!holds())
        {
            await Task.Delay(LookInterval, _time, cancellationToken);
        }
    }

    /// <summary>For the gate: a peer has this node, which leads the metadata group, commit something.</summary>
    internal async Task<ChangeMetadataResponse> ChangeMetadataForAsync(
        ReadOnlyMemory<byte> command, CancellationToken cancellationToken)
    {
        try
        {
            var result = await ProposeMetadataAsync(command, cancellationToken);
            return new ChangeMetadataResponse
            {
                Code = (uint)result.Code,
                Duplicate = result.Duplicate,
                BaseOffset = result.BaseOffset,
            };
        }
        catch (BrokerException refusal)
        {
            return new ChangeMetadataResponse { Code = (uint)refusal.Code, Message = refusal.Message };
        }
    }

    /// <summary>The cluster has said that this disk is no part of it any more.</summary>
    internal void LeaveForGood(string reason)
    {
        if (!IsRemoved)
        {
            _removal = reason;
            _store.MarkRemoved();
            ClusterEvents.Removed(_logger, reason);
            _removed.Cancel();
        }
    }

    private async Task<ChangeMetadataResponse> AskMetadataLeaderAsync(
        NodeId leader, ReadOnlyMemory<byte> command, CancellationToken cancellationToken)
    {
        var peer = Directory.Find(leader) ?? throw Refusal.NoLeader(GroupId.Metadata);
        try
        {
            var answer = await _transport.ChangeMetadataAtAsync(peer.Address, command, cancellationToken);
            return answer.Message.Length == 0
                ? answer
                : throw Refusal.ByPeer((RefusalCode)answer.Code, answer.Message);
        }
        catch (RpcException failure) when (!cancellationToken.IsCancellationRequested)
        {
            throw Protocol.Sockets.NeverConnected(failure)
                ? Refusal.NoLeader(GroupId.Metadata)
                : Refusal.OutcomeUnknown(GroupId.Metadata);
        }
    }
}
