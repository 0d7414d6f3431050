using Broker.Client;
using Broker.Protocol.V1;
using Grpc.Core;

namespace Broker.Tests.Unit.Client;

internal sealed class FakeAdmin(FakeCluster cluster, int index) : Admin.AdminBase
{
    public override Task<ListTopicsResponse> ListTopics(ListTopicsRequest request, ServerCallContext context)
    {
        if (!TopicFilter.TryParse(request.Filter, out var filter, out var reason))
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, reason));
        }

        // Pages are small here, so that lists of a few topics have several.
        var found = cluster.Topics()
            .Where(t => filter.Matches(t.Name) && string.CompareOrdinal(t.Name, request.PageToken) > 0)
            .OrderBy(t => t.Name, StringComparer.Ordinal)
            .Select(t => new TopicDescription { Name = t.Name, Shard = 1, NextOffset = t.Next })
            .ToList();
        var response = new ListTopicsResponse { NextPageToken = found.Count > 1 ? found[0].Name : "" };
        response.Topics.AddRange(found.Take(1));
        return Task.FromResult(response);
    }

    public override Task<PurgeTopicResponse> PurgeTopic(PurgeTopicRequest request, ServerCallContext context)
    {
        if (cluster.Topic(request.Name) is not { } topic)
        {
            throw new RpcException(new Status(StatusCode.NotFound, "no such topic"));
        }

        topic.First = Math.Max(topic.First, request.BeforeOffset ?? topic.Records.Count);
        return Task.FromResult(new PurgeTopicResponse { FirstOffsets = { topic.First } });
    }

    public override Task<DescribeClusterResponse> DescribeCluster(
        DescribeClusterRequest request, ServerCallContext context)
    {
        var response = new DescribeClusterResponse { ClusterId = new string('a', 32), ThisNode = (uint)index + 1 };
        response.Nodes.AddRange(cluster.Nodes.Select((n, i) => new NodeDescription
        {
            NodeId = (uint)i + 1,
            Name = $"broker-{i + 1}",
            Address = n.Address.OriginalString,
            Connected = true,
        }));
        response.Shards.Add(
            new ShardDescription { Shard = 1, Leader = (uint)cluster.Leader + 1, Term = 3, Role = "Leader" });
        return Task.FromResult(response);
    }

    public override Task<PutLiveSubscriptionResponse> PutLiveSubscription(
        PutLiveSubscriptionRequest request, ServerCallContext context)
    {
        cluster.LiveSubscriptions[request.Name] = [.. request.Filters];
        return Task.FromResult(new PutLiveSubscriptionResponse());
    }

    public override Task<DeleteLiveSubscriptionResponse> DeleteLiveSubscription(
        DeleteLiveSubscriptionRequest request, ServerCallContext context)
    {
        cluster.LiveSubscriptions.TryRemove(request.Name, out _);
        return Task.FromResult(new DeleteLiveSubscriptionResponse());
    }
}
