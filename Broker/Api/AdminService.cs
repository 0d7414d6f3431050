using System.Buffers;
using System.Text;
using Broker.Client;
using Broker.Cluster;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Topics;
using Grpc.Core;

namespace Broker.Api;

/// <summary>
/// The service broker.v1.Admin. Questions are answered from this node; changes go to the metadata group's leader.
/// </summary>
internal sealed class AdminService(BrokerNode node, AdminForwarder forwarder) : Admin.AdminBase
{
    private const int NameBytes = 255;

    public override Task<ListTopicsResponse> ListTopics(ListTopicsRequest request, ServerCallContext context)
    {
        var filter = ParseFilter(request.Filter.Length == 0 ? ">" : request.Filter);
        var response = new ListTopicsResponse();
        foreach (var (group, machine) in node.DataShards)
        {
            foreach (var topic in machine.ListTopics(filter))
            {
                response.Topics.Add(new TopicDescription
                {
                    Name = topic.Name,
                    Group = (uint)group.Value,
                    NextOffset = topic.NextOffset,
                    FirstOffset = topic.FirstOffset,
                });
            }
        }

        return Task.FromResult(response);
    }

    public override Task<DescribeClusterResponse> DescribeCluster(
        DescribeClusterRequest request, ServerCallContext context)
    {
        var options = node.Options;
        var response = new DescribeClusterResponse
        {
            ClusterId = node.ClusterId?.ToString("N") ?? "",
            ThisNode = (uint)options.NodeId.Value,
        };
        foreach (var known in options.Nodes)
        {
            var self = known.Node == options.NodeId;
            response.Nodes.Add(new NodeDescription
            {
                NodeId = (uint)known.Node.Value,
                Name = known.Name,
                Address = known.Address.ToString().TrimEnd('/'),
                Connected = self || node.IsConnected(known.Node),
                ProcessId = self ? (uint)Environment.ProcessId : 0,
            });
        }

        foreach (var group in node.Groups)
        {
            var status = group.Status;
            response.Groups.Add(new GroupDescription
            {
                Group = (uint)status.Group.Value,
                Leader = (uint)status.Leader.Value,
                Term = (ulong)status.Term.Value,
                CommitIndex = (ulong)status.CommitIndex.Value,
                AppliedIndex = (ulong)status.AppliedIndex.Value,
                LastIndex = (ulong)status.LastIndex.Value,
                Role = status.Role.ToString(),
            });
        }

        return Task.FromResult(response);
    }

    public override async Task<PutLiveSubscriptionResponse> PutLiveSubscription(
        PutLiveSubscriptionRequest request, ServerCallContext context)
    {
        CheckName(request.Name);
        if (request.Filters.Count is 0 or > Limits.FiltersPerLiveSubscription)
        {
            throw StatusMap.ToRpcException(Refusal.InvalidArgument(
                $"A live subscription has 1 to {Limits.FiltersPerLiveSubscription} filters, "
                + $"not {request.Filters.Count}."));
        }

        foreach (var filter in request.Filters)
        {
            ParseFilter(filter);
        }

        var command = new ArrayBufferWriter<byte>();
        CommandCodec.WritePutLiveSubscription(command, request.Name, request.Filters);
        return await ChangeAsync(
            command.WrittenMemory,
            static (client, message, options) => client.PutLiveSubscriptionAsync(message, options),
            request,
            static () => new PutLiveSubscriptionResponse(),
            context);
    }

    public override async Task<DeleteLiveSubscriptionResponse> DeleteLiveSubscription(
        DeleteLiveSubscriptionRequest request, ServerCallContext context)
    {
        CheckName(request.Name);
        var command = new ArrayBufferWriter<byte>();
        CommandCodec.WriteDeleteLiveSubscription(command, request.Name);
        return await ChangeAsync(
            command.WrittenMemory,
            static (client, message, options) => client.DeleteLiveSubscriptionAsync(message, options),
            request,
            static () => new DeleteLiveSubscriptionResponse(),
            context);
    }

    public override Task<ListLiveSubscriptionsResponse> ListLiveSubscriptions(
        ListLiveSubscriptionsRequest request, ServerCallContext context)
    {
        var response = new ListLiveSubscriptionsResponse();
        foreach (var known in node.Metadata.Current.LiveSubscriptions.Values)
        {
            var subscription = new Protocol.V1.LiveSubscription { Name = known.Name };
            subscription.Filters.AddRange(known.Filters);
            response.Subscriptions.Add(subscription);
        }

        return Task.FromResult(response);
    }

    /// <summary>Commits a change here when this node leads the metadata group, else has the leader do it.</summary>
    private async Task<TResponse> ChangeAsync<TRequest, TResponse>(
        ReadOnlyMemory<byte> command,
        Func<Admin.AdminClient, TRequest, CallOptions, AsyncUnaryCall<TResponse>> forward,
        TRequest request,
        Func<TResponse> done,
        ServerCallContext context)
    {
        try
        {
            var leader = await node.WaitForLeaderAsync(GroupId.Metadata, context.CancellationToken);
            if (leader != node.Options.NodeId && !AdminForwarder.IsForwarded(context))
            {
                return await forwarder.ForwardAsync(leader, forward, request, context);
            }

            var result = await node.ProposeMetadataAsync(command, context.CancellationToken);
            return result.Code == RefusalCode.None
                ? done()
                : throw Refusal.Exhausted(
                    $"The cluster holds {Limits.LiveSubscriptions:N0} live subscriptions already. "
                    + "Delete one that nobody uses.");
        }
        catch (BrokerException refusal)
        {
            throw StatusMap.ToRpcException(refusal);
        }
    }

    private static void CheckName(string name)
    {
        if (name.Length == 0 || Encoding.UTF8.GetByteCount(name) > NameBytes)
        {
            throw StatusMap.ToRpcException(Refusal.InvalidArgument(
                $"A live subscription's name has 1 to {NameBytes} bytes; "
                + $"this one has {Encoding.UTF8.GetByteCount(name)}."));
        }
    }

    private static TopicFilter ParseFilter(string text) => TopicFilter.TryParse(text, out var filter, out var reason)
        ? filter
        : throw StatusMap.ToRpcException(Refusal.InvalidArgument(reason));
}
