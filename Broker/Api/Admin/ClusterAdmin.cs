using System.Buffers;
using System.Text;
using Broker.Cluster;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Protocol.V1;
using Grpc.Core;

namespace Broker.Api;

/// <summary>
/// What operators do with nodes and shards: who belongs to the cluster, who votes and leads, and what goes on when most
/// replicas of a shard are damaged.
/// </summary>
internal sealed class ClusterAdmin(BrokerNode node, AdminForwarder forwarder, DataNodes dataNodes)
{
    public async Task<DescribeClusterResponse> DescribeAsync(CancellationToken cancellationToken)
    {
        var options = node.Options;
        var members = node.Metadata.Members;
        var response = new DescribeClusterResponse
        {
            ClusterId = node.ClusterId?.ToString("N") ?? "",
            ThisNode = (uint)options.NodeId.Value,
            ShardVoters = (uint)members.ShardVoters,
            OnlyVotersKeepRecords = members.VotersKeepRecordsAlone,
        };
        foreach (var known in node.Directory.Nodes)
        {
            var self = known.Node == options.NodeId;
            var description = new NodeDescription
            {
                NodeId = (uint)known.Node.Value,
                Name = known.Name,
                Address = known.ClientAddressText,
                Connected = self || node.IsConnected(known.Node),
                ProcessId = self ? (uint)Environment.ProcessId : 0,
                State = (NodeState)(members.Find(known.Node)?.State ?? 0),
                Draining = members.Find(known.Node)?.IsDraining ?? false,
            };
            if (members.Find(known.Node) is { } member)
            {
                description.Roles.AddRange(RolesOf(member.Roles));
            }

            response.Nodes.Add(description);
        }

        foreach (var group in node.Groups)
        {
            var status = group.Status;
            var shard = new ShardDescription
            {
                Shard = (uint)status.Group.Value,
                Leader = (uint)status.Leader.Value,
                Term = (ulong)status.Term.Value,
                CommitIndex = (ulong)status.CommitIndex.Value,
                AppliedIndex = (ulong)status.AppliedIndex.Value,
                LastIndex = (ulong)status.LastIndex.Value,
                Role = status.Role.ToString(),
                PreferredLeader = (uint)node.PreferredLeaderOf(group.Id).Value,
                SegmentsElsewhere = (uint)status.Condition.HollowSegments,
            };
            shard.Voters.AddRange(status.Condition.Configuration.Voters.Select(static each => (uint)each.Value));
            shard.Learners.AddRange(status.Condition.Configuration.Learners.Select(static each => (uint)each.Value));
            shard.PlacedVoters.AddRange(
                members.Placements.GetValueOrDefault(group.Id.Value, []).Select(static each => (uint)each));
            response.Shards.Add(shard);
        }

        response.Shards.AddRange(await AskForShardsAsync(cancellationToken));
        return response;
    }

    public async Task<AddNodeResponse> AddNodeAsync(AddNodeRequest request, CancellationToken cancellationToken)
    {
        if (request.Name.Length == 0 || Encoding.UTF8.GetByteCount(request.Name) > Limits.OperatorNameBytes)
        {
            throw Refusal.InvalidArgument($"A node's name has 1 to {Limits.OperatorNameBytes} bytes.");
        }

        if (!Uri.TryCreate(request.Address, UriKind.Absolute, out var address)
            || (address.Scheme != Uri.UriSchemeHttp && address.Scheme != Uri.UriSchemeHttps)
            || Encoding.UTF8.GetByteCount(request.Address) > Limits.OperatorNameBytes)
        {
            throw Refusal.InvalidArgument(
                $"'{request.Address}' is no address of a broker's endpoint for peers (Broker__PeerPort); expected an "
                + $"http or https base address of up to {Limits.OperatorNameBytes} bytes, for example "
                + "http://localhost:8004.");
        }

        NodeRoles? roles = request.Role switch
        {
            NodeRole.Unspecified => null,
            NodeRole.Controller => NodeRoles.Controller,
            NodeRole.Data => NodeRoles.Data,
            _ => throw Refusal.InvalidArgument($"There is no role {(int)request.Role}."),
        };
        var id = await node.AddMemberAsync(request.Name, address, roles, cancellationToken);
        return new AddNodeResponse { NodeId = (uint)id.Value };
    }

    public async Task<RemoveNodeResponse> RemoveNodeAsync(
        RemoveNodeRequest request, CancellationToken cancellationToken)
    {
        var id = MemberOf(request.NodeId);
        await node.RemoveMemberAsync(id, cancellationToken);
        return new RemoveNodeResponse();
    }

    public async Task<DrainNodeResponse> DrainNodeAsync(DrainNodeRequest request, CancellationToken cancellationToken)
    {
        var id = MemberOf(request.NodeId);
        var response = new DrainNodeResponse();
        response.ShardsLeft.AddRange((await node.DrainMemberAsync(id, drains: true, cancellationToken))
            .Select(static shard => (uint)shard.Value));
        return response;
    }

    public async Task<UndrainNodeResponse> UndrainNodeAsync(
        UndrainNodeRequest request, CancellationToken cancellationToken)
    {
        var id = MemberOf(request.NodeId);
        await node.DrainMemberAsync(id, drains: false, cancellationToken);
        return new UndrainNodeResponse();
    }

    public async Task<SetShardVotersResponse> SetShardVotersAsync(
        SetShardVotersRequest request, bool isForwarded, CancellationToken cancellationToken)
    {
        if (request.Count is > 0 and < Limits.LeastShardVoters or > GroupConfiguration.MaxMembers)
        {
            throw Refusal.InvalidArgument(
                $"A shard has {Limits.LeastShardVoters} to {GroupConfiguration.MaxMembers} voters, not "
                + $"{request.Count}: with fewer, one dead node would stop it. 0: all data nodes vote.");
        }

        if (request is { Count: 0, OnlyVotersKeepRecords: true })
        {
            throw Refusal.InvalidArgument(
                "only_voters_keep_records is set, and count is 0: where all data nodes vote, all keep the records. Say "
                + "how many are to vote in each shard.");
        }

        var command = new ArrayBufferWriter<byte>();
        MemberCommands.WriteShardVoters(command, (int)request.Count, request.OnlyVotersKeepRecords);
        return await forwarder.ChangeAsync(
            GroupId.Metadata,
            () => Task.FromResult(command.WrittenMemory),
            static (client, message, options) => client.SetShardVotersAsync(message, options),
            request,
            static result => result.Code == RefusalCode.None
                ? new SetShardVotersResponse()
                : throw Refusal.NotFormed("The cluster has not formed yet, and knows no members."),
            isForwarded,
            cancellationToken);
    }

    public async Task<TransferLeadershipResponse> TransferLeadershipAsync(
        TransferLeadershipRequest request, bool isForwarded, CancellationToken cancellationToken)
    {
        if (request.Shard > node.Options.DataShards)
        {
            throw Refusal.NotFound($"There is no shard {request.Shard}; they are 0 to {node.Options.DataShards}.");
        }

        if (request.ToNode > int.MaxValue)
        {
            throw Refusal.FailedPrecondition($"There is no node {request.ToNode}.");
        }

        var shard = new GroupId((int)request.Shard);
        var leader = await FindLeaderAsync(shard, cancellationToken);
        if (isForwarded)
        {
            return await MoveAsync(shard, request, cancellationToken);
        }

        var moved = leader == node.Options.NodeId
            ? await MoveAsync(shard, request, cancellationToken)
            : await forwarder.ForwardAsync(
                leader,
                static (client, message, options) => client.TransferLeadershipAsync(message, options),
                request,
                cancellationToken);
        await PlaceAsync(shard, new NodeId((int)moved.Leader), cancellationToken);
        return moved;
    }

    public async Task<ForceRecoveryResponse> ForceRecoveryAsync(
        ForceRecoveryRequest request, string peer, CancellationToken cancellationToken)
    {
        var report = await node.ForceRecoveryAsync(
            new RecoveryOrder(
                new GroupId((int)Math.Min(request.Shard, int.MaxValue)),
                new NodeId((int)Math.Min(request.NodeId, int.MaxValue)),
                [.. request.GoneNodes.Select(static gone => new NodeId((int)Math.Min(gone, int.MaxValue)))],
                request.Operator,
                peer,
                request.Confirmation),
            cancellationToken);
        return new ForceRecoveryResponse
        {
            Report = report.What,
            Confirmation = report.Confirmation,
            Done = report.At is not null,
            Index = (ulong)(report.At?.Index.Value ?? 0),
            Term = (ulong)(report.At?.Term.Value ?? 0),
        };
    }

    private static IEnumerable<NodeRole> RolesOf(NodeRoles roles)
    {
        if (roles.HasFlag(NodeRoles.Controller))
        {
            yield return NodeRole.Controller;
        }

        if (roles.HasFlag(NodeRoles.Data))
        {
            yield return NodeRole.Data;
        }
    }

    /// <summary>The shards for topics, of which a dedicated controller knows by a data node's word only.</summary>
    private async Task<IReadOnlyList<ShardDescription>> AskForShardsAsync(CancellationToken cancellationToken)
    {
        foreach (var known in node.Options.HoldsTopics ? [] : dataNodes.List())
        {
            try
            {
                var answer = await forwarder.ForwardAsync(
                    known.Node,
                    static (client, message, options) => client.DescribeClusterAsync(message, options),
                    new DescribeClusterRequest(),
                    cancellationToken);
                return [.. answer.Shards.Where(static shard => shard.Shard > 0)];
            }
            catch (RpcException) when (!cancellationToken.IsCancellationRequested)
            {
                // The next one is asked; when none answers, nothing is told of them.
            }
        }

        return [];
    }

    private async Task<NodeId> FindLeaderAsync(GroupId shard, CancellationToken cancellationToken)
    {
        if (shard.Value < node.Groups.Count)
        {
            return await node.WaitForLeaderAsync(shard, cancellationToken);
        }

        var known = (await AskForShardsAsync(cancellationToken)).FirstOrDefault(each => each.Shard == shard.Value);
        return known is { Leader: > 0 } ? new NodeId((int)known.Leader) : throw Refusal.NoLeader(shard);
    }

    private static NodeId MemberOf(uint number) => number is 0 or > int.MaxValue
        ? throw Refusal.InvalidArgument($"There is no node {number}.")
        : new NodeId((int)number);

    private async Task<TransferLeadershipResponse> MoveAsync(
        GroupId shard, TransferLeadershipRequest request, CancellationToken cancellationToken)
    {
        var (leader, term) = await node.MoveLeadershipAsync(
            shard, new NodeId((int)request.ToNode), cancellationToken);
        return new TransferLeadershipResponse { Leader = (uint)leader.Value, Term = (ulong)term.Value };
    }

    /// <summary>It stays where its operator has put it: the balance of leaders keeps to that.</summary>
    private async Task PlaceAsync(GroupId shard, NodeId leader, CancellationToken cancellationToken)
    {
        var command = new ArrayBufferWriter<byte>();
        MemberCommands.WriteLeaderPlaced(command, shard, leader);
        var result = await node.ChangeMetadataAsync(command.WrittenMemory, cancellationToken);
        if (result.Code != RefusalCode.None)
        {
            throw Refusal.FailedPrecondition($"Node {leader} leads shard {shard}, but is no member of the cluster.");
        }
    }
}
