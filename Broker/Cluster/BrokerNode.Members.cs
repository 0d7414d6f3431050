using Broker.ClusterState;
using Broker.Consensus;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Replication;
using Grpc.Core;

namespace Broker.Cluster;

/// <summary>Changes of the metadata from any node, of who belongs to the cluster, and of who leads.</summary>
public sealed partial class BrokerNode
{
    /// <summary>
    /// How long a hand-over may take: the catching up, which is given up after the shortest election timeout, and an
    /// election, which may have to be repeated.
    /// </summary>
    private static readonly TimeSpan HandOverWait = TimeSpan.FromSeconds(3);

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
    public async Task RemoveMemberAsync(NodeId id, CancellationToken cancellationToken)
    {
        await CatchUpMetadataAsync(cancellationToken);
        if (Metadata.Members.Find(id) is not { } member)
        {
            return;
        }

        if (member.State != MemberState.Leaving)
        {
            CheckHasOthers(member);
            await CheckCanSpareAsync(id, cancellationToken);
            var command = new System.Buffers.ArrayBufferWriter<byte>();
            MemberCommands.WriteChanged(command, id, MemberState.Leaving);
            var result = await ChangeMetadataAsync(command.WrittenMemory, cancellationToken);
            if (result.Code != RefusalCode.None)
            {
                throw Refusal.FailedPrecondition(
                    $"Node {id} cannot leave now: it is the last member, or another node is joining or leaving "
                    + $"({Metadata.Members.Changing?.Name ?? "a moment ago"}). Members change one at a time; again "
                    + "when that is over.");
            }

            ClusterEvents.MemberLeaving(_logger, id.Value, member.Name);
            await WaitForMetadataAsync(
                () => Metadata.Members.Find(id)?.State is null or MemberState.Leaving, cancellationToken);
        }

        // Who is removed does not hear of the end of it from the others, but when it asks them.
        await WaitForMetadataAsync(() => IsRemoved || Metadata.Members.Find(id) is null, cancellationToken);
    }

    /// <summary>
    /// Has a member lead nothing from now on, or lead again. Any node. Answers, of a member that drains, the groups
    /// that it still leads after a while, as this node sees it; mostly none.
    /// </summary>
    public async Task<IReadOnlyList<GroupId>> DrainMemberAsync(
        NodeId id, bool drains, CancellationToken cancellationToken)
    {
        await CatchUpMetadataAsync(cancellationToken);
        var member = Metadata.Members.Find(id) ?? throw Refusal.NotFound($"Node {id} is no member of this cluster.");
        if (member.IsDraining != drains)
        {
            var command = new System.Buffers.ArrayBufferWriter<byte>();
            MemberCommands.WriteDrained(command, id, drains);
            var result = await ChangeMetadataAsync(command.WrittenMemory, cancellationToken);
            if (result.Code != RefusalCode.None)
            {
                throw result.Code == RefusalCode.NotFound
                    ? Refusal.NotFound($"Node {id} is no member of this cluster any more.")
                    : Refusal.FailedPrecondition(
                        $"'{member.Name}' cannot drain: no other member could lead some shard then, as all others that "
                        + "vote there drain, or are on their way in or out. Nothing was changed; have one of them lead "
                        + "again first (UndrainNode).");
            }

            if (drains)
            {
                ClusterEvents.MemberDraining(_logger, id.Value, member.Name);
            }
            else
            {
                ClusterEvents.MemberUndrained(_logger, id.Value, member.Name);
            }
        }

        return drains ? await WaitUntilLeadsNothingAsync(id, cancellationToken) : [];
    }

    /// <summary>Moves leadership of a group that this node leads; answers who leads then, and in which term.</summary>
    public async Task<(NodeId Leader, Term Term)> MoveLeadershipAsync(
        GroupId id, NodeId to, CancellationToken cancellationToken)
    {
        var group = Group(id);
        var before = group.Status;
        if (before.Role != RaftRole.Leader)
        {
            throw before.Leader.IsNone ? Refusal.NoLeader(id) : Refusal.NotLeader(id, before.Leader);
        }

        if (to == Options.NodeId)
        {
            return (to, before.Term);
        }

        if (!to.IsNone && !before.Condition.Configuration.IsVoter(to))
        {
            throw Refusal.FailedPrecondition(
                $"Node {to} is no voter of shard {id}, so it cannot lead it. Voters: "
                + $"{string.Join(", ", before.Condition.Configuration.Voters)}.");
        }

        var heir = await group.BeginTransferAsync(to);
        if (heir.IsNone)
        {
            throw Refusal.FailedPrecondition(
                $"{(to.IsNone ? "No other node" : $"Node {to}")} can lead shard {id} now: it is not connected, cannot "
                + "write, drains, or leadership moves already. Nothing was changed; try again when it is well.");
        }

        return await AwaitHeirAsync(group, heir, before.Term, cancellationToken);
    }

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

    private async Task<(NodeId Leader, Term Term)> AwaitHeirAsync(
        ReplicaGroup group, NodeId heir, Term before, CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(HandOverWait);
        while (true)
        {
            var status = group.Status;
            if (status.Term > before && !status.Leader.IsNone)
            {
                return status.Leader == heir
                    ? (heir, status.Term)
                    : throw Refusal.FailedPrecondition(
                        $"Node {status.Leader} was elected for shard {group.Id}, not node {heir}. Try again.");
            }

            try
            {
                await group.WaitForChangeAsync(status, patience.Token);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                throw group.Status is { Role: RaftRole.Leader } still && still.Term == before
                    ? Refusal.FailedPrecondition(
                        $"Node {heir} did not catch up with shard {group.Id} in time: node {Options.NodeId} goes on "
                        + "leading it. Try again when less is published.")
                    : Refusal.NoLeader(group.Id);
            }
        }
    }

    /// <summary>
    /// The groups that a node still leads when the time is over; one without a leader may become one.
    /// </summary>
    private async Task<IReadOnlyList<GroupId>> WaitUntilLeadsNothingAsync(
        NodeId id, CancellationToken cancellationToken)
    {
        var began = _time.GetTimestamp();
        while (true)
        {
            var left = Groups.Where(group => group.Status.Leader is var leader && (leader == id || leader.IsNone))
                .Select(static group => group.Id).ToList();
            if (left.Count == 0 || _time.GetElapsedTime(began).TotalMilliseconds >= Limits.DrainWaitMs)
            {
                return left;
            }

            await Task.Delay(LookInterval, _time, cancellationToken);
        }
    }

    private void CheckHasOthers(ClusterMember member)
    {
        var members = Metadata.Members;
        if (members.Nodes.Count > 1 && !members.CanSpare(member.Id))
        {
            var others = members.Nodes.Values.Where(each => each.Id != member.Id);
            var last = others.Any(static each => each.Roles.HasFlag(NodeRoles.Data)) ? "controller" : "data node";
            throw Refusal.FailedPrecondition(
                $"Node {member.Id} ({member.Name}) is the last {last}, and a cluster needs one. "
                + "Nothing was changed; have another one join first (AddNode, Broker__Roles).");
        }
    }

    /// <summary>
    /// Without a node each of its groups still needs a majority of nodes that live; as this one sees it. Raft looks
    /// again, as each leader sees it. Who has just joined, or starts again, may not be connected to this node yet.
    /// </summary>
    private async Task CheckCanSpareAsync(NodeId id, CancellationToken cancellationToken)
    {
        var began = _time.GetTimestamp();
        while (WhyNotSpared(id) is { } refusal)
        {
            if (_time.GetElapsedTime(began).TotalMilliseconds >= Limits.SpareWaitMs)
            {
                throw refusal;
            }

            await Task.Delay(LookInterval, _time, cancellationToken);
        }
    }

    private BrokerException? WhyNotSpared(NodeId id)
    {
        foreach (var group in Groups)
        {
            var configuration = group.Status.Condition.Configuration;
            var others = configuration.Voters.Where(voter => voter != id).ToList();
            var live = others.Count(voter => voter == Options.NodeId || IsConnected(voter));
            if (configuration.IsVoter(id) && live <= others.Count / 2)
            {
                return Refusal.FailedPrecondition(
                    $"Without node {id}, shard {group.Id} would have {others.Count} voters, of which {live} live: no "
                    + "majority. Nothing was changed; start or remove the dead ones first.");
            }
        }

        return null;
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
