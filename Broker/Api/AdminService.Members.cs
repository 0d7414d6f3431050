using System.Buffers;
using System.Text;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Protocol.V1;
using Grpc.Core;

namespace Broker.Api;

/// <content>Who belongs to the cluster, and who leads.</content>
internal sealed partial class AdminService
{
    public override async Task<DescribeClusterResponse> DescribeCluster(
        DescribeClusterRequest request, ServerCallContext context)
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

        response.Shards.AddRange(await AskForShardsAsync(context.CancellationToken));
        return response;
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

    public override async Task<AddNodeResponse> AddNode(AddNodeRequest request, ServerCallContext context)
    {
        if (request.Name.Length == 0 || Encoding.UTF8.GetByteCount(request.Name) > NameBytes)
        {
            throw StatusMap.ToRpcException(Refusal.InvalidArgument($"A node's name has 1 to {NameBytes} bytes."));
        }

        if (!Uri.TryCreate(request.Address, UriKind.Absolute, out var address)
            || (address.Scheme != Uri.UriSchemeHttp && address.Scheme != Uri.UriSchemeHttps)
            || Encoding.UTF8.GetByteCount(request.Address) > NameBytes)
        {
            throw StatusMap.ToRpcException(Refusal.InvalidArgument(
                $"'{request.Address}' is no address of a broker's endpoint for peers (Broker__PeerPort); expected an "
                + $"http or https base address of up to {NameBytes} bytes, for example http://localhost:8004."));
        }

        NodeRoles? roles = request.Role switch
        {
            NodeRole.Unspecified => null,
            NodeRole.Controller => NodeRoles.Controller,
            NodeRole.Data => NodeRoles.Data,
            _ => throw StatusMap.ToRpcException(Refusal.InvalidArgument($"There is no role {(int)request.Role}.")),
        };
        return await AnswerAsync(async () =>
        {
            var id = await node.AddMemberAsync(request.Name, address, roles, context.CancellationToken);
            return new AddNodeResponse { NodeId = (uint)id.Value };
        });
    }

    public override async Task<RemoveNodeResponse> RemoveNode(RemoveNodeRequest request, ServerCallContext context)
    {
        var id = MemberOf(request.NodeId);
        return await AnswerAsync(async () =>
        {
            await node.RemoveMemberAsync(id, context.CancellationToken);
            return new RemoveNodeResponse();
        });
    }

    public override async Task<DrainNodeResponse> DrainNode(DrainNodeRequest request, ServerCallContext context)
    {
        var id = MemberOf(request.NodeId);
        return await AnswerAsync(async () =>
        {
            var response = new DrainNodeResponse();
            response.ShardsLeft.AddRange((await node.DrainMemberAsync(id, drains: true, context.CancellationToken))
                .Select(static shard => (uint)shard.Value));
            return response;
        });
    }

    public override async Task<UndrainNodeResponse> UndrainNode(UndrainNodeRequest request, ServerCallContext context)
    {
        var id = MemberOf(request.NodeId);
        return await AnswerAsync(async () =>
        {
            await node.DrainMemberAsync(id, drains: false, context.CancellationToken);
            return new UndrainNodeResponse();
        });
    }

    public override async Task<SetShardVotersResponse> SetShardVoters(
        SetShardVotersRequest request, ServerCallContext context)
    {
        if (request.Count is > 0 and < Limits.LeastShardVoters or > GroupConfiguration.MaxMembers)
        {
            throw StatusMap.ToRpcException(Refusal.InvalidArgument(
                $"A shard has {Limits.LeastShardVoters} to {GroupConfiguration.MaxMembers} voters, not "
                + $"{request.Count}: with fewer, one dead node would stop it. 0: all data nodes vote."));
        }

        if (request is { Count: 0, OnlyVotersKeepRecords: true })
        {
            throw StatusMap.ToRpcException(Refusal.InvalidArgument(
                "only_voters_keep_records is set, and count is 0: where all data nodes vote, all keep the records. Say "
                + "how many are to vote in each shard."));
        }

        var command = new ArrayBufferWriter<byte>();
        MemberCommands.WriteShardVoters(command, (int)request.Count, request.OnlyVotersKeepRecords);
        return await ChangeAsync(
            GroupId.Metadata,
            command.WrittenMemory,
            static (client, message, options) => client.SetShardVotersAsync(message, options),
            request,
            static result => result.Code == RefusalCode.None
                ? new SetShardVotersResponse()
                : throw Refusal.NotFormed("The cluster has not formed yet, and knows no members."),
            context);
    }

    public override async Task<TransferLeadershipResponse> TransferLeadership(
        TransferLeadershipRequest request, ServerCallContext context)
    {
        if (request.Shard > node.Options.DataShards)
        {
            throw StatusMap.ToRpcException(Refusal.NotFound(
                $"There is no shard {request.Shard}; they are 0 to {node.Options.DataShards}."));
        }

        if (request.ToNode > int.MaxValue)
        {
            throw StatusMap.ToRpcException(Refusal.FailedPrecondition($"There is no node {request.ToNode}."));
        }

        return await AnswerAsync(async () =>
        {
            var shard = new GroupId((int)request.Shard);
            var stop = context.CancellationToken;
            var leader = await FindLeaderAsync(shard, stop);
            if (AdminForwarder.IsForwarded(context))
            {
                return await MoveAsync(shard, request, stop);
            }

            var moved = leader == node.Options.NodeId
                ? await MoveAsync(shard, request, stop)
                : await forwarder.ForwardAsync(
                    leader,
                    static (client, message, options) => client.TransferLeadershipAsync(message, options),
                    request,
                    stop);
            await PlaceAsync(shard, new NodeId((int)moved.Leader), stop);
            return moved;
        });
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
        ? throw StatusMap.ToRpcException(Refusal.InvalidArgument($"There is no node {number}."))
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

    private static async Task<TResponse> AnswerAsync<TResponse>(Func<Task<TResponse>> work)
    {
        try
        {
            return await work();
        }
        catch (BrokerException refusal)
        {
            throw StatusMap.ToRpcException(refusal);
        }
    }
}
