using Broker.Domain;
using Broker.Protocol.V1;
using Grpc.Core;

namespace Broker.Api;

/// <summary>
/// The service broker.v1.Admin. Questions are answered from this node; a change goes to the leader of the group that it
/// concerns.
/// </summary>
internal sealed class AdminService(
    ClusterAdmin cluster,
    TopicAdmin topics,
    RecordAdmin records,
    MetadataAdmin metadata,
    GroupAdmin groups,
    DeadLetterAdmin deadLetters,
    GroupPeeks peeks)
    : Admin.AdminBase
{
    public override Task<GetServerInfoResponse> GetServerInfo(
        GetServerInfoRequest request, ServerCallContext context) => Task.FromResult(new GetServerInfoResponse
        {
            Version = typeof(AdminService).Assembly.GetName().Version?.ToString(3) ?? "",
            Features =
            {
                "atomic-publish", "compaction", "consume-and-publish", "consumer-groups", "dead-letters",
                "delayed-delivery", "drain",
                "error-reasons", "eviction", "expected-offset", "force-recovery", "group-modes", "group-orders",
                "group-peek", "http", "linearizable-reads", "membership", "node-roles", "partitions",
                "purge-by-time", "read-from-time", "read-last-per-key", "shard-replicas", "shard-voters", "subscribe",
                "times-to-live",
                "topic-ids",
                "topic-settings", "topic-templates",
            },
            Limits = new ServerLimits
            {
                MessageBytes = Limits.RecordBytes,
                BatchBytes = Limits.BatchBytes,
                BatchRecords = Limits.RecordsPerBatch,
                KeyBytes = Limits.KeyBytes,
                Headers = Limits.HeadersPerRecord,
                HeaderBytes = Limits.HeaderBytes,
                TopicNameBytes = Limits.TopicNameBytes,
                Topics = Limits.Topics,
                PublishesInFlight = Limits.PublishesInFlightPerStream,
                Partitions = Limits.PartitionsPerTopic,
            },
        });

    public override Task<DescribeClusterResponse> DescribeCluster(
        DescribeClusterRequest request, ServerCallContext context) =>
        AnswerAsync(() => cluster.DescribeAsync(context.CancellationToken));

    public override Task<AddNodeResponse> AddNode(AddNodeRequest request, ServerCallContext context) =>
        AnswerAsync(() => cluster.AddNodeAsync(request, context.CancellationToken));

    public override Task<RemoveNodeResponse> RemoveNode(RemoveNodeRequest request, ServerCallContext context) =>
        AnswerAsync(() => cluster.RemoveNodeAsync(request, context.CancellationToken));

    public override Task<DrainNodeResponse> DrainNode(DrainNodeRequest request, ServerCallContext context) =>
        AnswerAsync(() => cluster.DrainNodeAsync(request, context.CancellationToken));

    public override Task<UndrainNodeResponse> UndrainNode(UndrainNodeRequest request, ServerCallContext context) =>
        AnswerAsync(() => cluster.UndrainNodeAsync(request, context.CancellationToken));

    public override Task<SetShardVotersResponse> SetShardVoters(
        SetShardVotersRequest request, ServerCallContext context) =>
        AnswerAsync(() => cluster.SetShardVotersAsync(
            request, AdminForwarder.IsForwarded(context), context.CancellationToken));

    public override Task<TransferLeadershipResponse> TransferLeadership(
        TransferLeadershipRequest request, ServerCallContext context) =>
        AnswerAsync(() => cluster.TransferLeadershipAsync(
            request, AdminForwarder.IsForwarded(context), context.CancellationToken));

    public override Task<ForceRecoveryResponse> ForceRecovery(
        ForceRecoveryRequest request, ServerCallContext context) =>
        AnswerAsync(() => cluster.ForceRecoveryAsync(request, context.Peer, context.CancellationToken));

    public override Task<ListTopicsResponse> ListTopics(ListTopicsRequest request, ServerCallContext context) =>
        AnswerAsync(() => Task.FromResult(topics.List(request, AdminForwarder.IsForwarded(context))));

    public override Task<CreateTopicResponse> CreateTopic(CreateTopicRequest request, ServerCallContext context) =>
        AnswerAsync(() => topics.CreateAsync(request, AdminForwarder.IsForwarded(context), context.CancellationToken));

    public override Task<UpdateTopicResponse> UpdateTopic(UpdateTopicRequest request, ServerCallContext context) =>
        AnswerAsync(() => topics.UpdateAsync(request, AdminForwarder.IsForwarded(context), context.CancellationToken));

    public override Task<DeleteTopicResponse> DeleteTopic(DeleteTopicRequest request, ServerCallContext context) =>
        AnswerAsync(() => topics.DeleteAsync(request, AdminForwarder.IsForwarded(context), context.CancellationToken));

    public override Task<DescribeTopicResponse> DescribeTopic(
        DescribeTopicRequest request, ServerCallContext context) =>
        AnswerAsync(() => topics.DescribeAsync(request, context.CancellationToken));

    public override Task<PurgeTopicResponse> PurgeTopic(PurgeTopicRequest request, ServerCallContext context) =>
        AnswerAsync(() => records.PurgeAsync(request, AdminForwarder.IsForwarded(context), context.CancellationToken));

    public override Task<ListDelayedResponse> ListDelayed(ListDelayedRequest request, ServerCallContext context) =>
        AnswerAsync(() => records.ListDelayedAsync(request, context.CancellationToken));

    public override Task<CancelDelayedResponse> CancelDelayed(
        CancelDelayedRequest request, ServerCallContext context) =>
        AnswerAsync(() => records.CancelDelayedAsync(
            request, AdminForwarder.IsForwarded(context), context.CancellationToken));

    public override Task<PutTopicTemplateResponse> PutTopicTemplate(
        PutTopicTemplateRequest request, ServerCallContext context) =>
        AnswerAsync(() => metadata.PutTopicTemplateAsync(
            request, AdminForwarder.IsForwarded(context), context.CancellationToken));

    public override Task<DeleteTopicTemplateResponse> DeleteTopicTemplate(
        DeleteTopicTemplateRequest request, ServerCallContext context) =>
        AnswerAsync(() => metadata.DeleteTopicTemplateAsync(
            request, AdminForwarder.IsForwarded(context), context.CancellationToken));

    public override Task<ListTopicTemplatesResponse> ListTopicTemplates(
        ListTopicTemplatesRequest request, ServerCallContext context) =>
        Task.FromResult(metadata.ListTopicTemplates(request));

    public override Task<SetAutoCreateResponse> SetAutoCreate(
        SetAutoCreateRequest request, ServerCallContext context) =>
        AnswerAsync(() => metadata.SetAutoCreateAsync(
            request, AdminForwarder.IsForwarded(context), context.CancellationToken));

    public override Task<PutLiveSubscriptionResponse> PutLiveSubscription(
        PutLiveSubscriptionRequest request, ServerCallContext context) =>
        AnswerAsync(() => metadata.PutLiveSubscriptionAsync(
            request, AdminForwarder.IsForwarded(context), context.CancellationToken));

    public override Task<DeleteLiveSubscriptionResponse> DeleteLiveSubscription(
        DeleteLiveSubscriptionRequest request, ServerCallContext context) =>
        AnswerAsync(() => metadata.DeleteLiveSubscriptionAsync(
            request, AdminForwarder.IsForwarded(context), context.CancellationToken));

    public override Task<ListLiveSubscriptionsResponse> ListLiveSubscriptions(
        ListLiveSubscriptionsRequest request, ServerCallContext context) =>
        Task.FromResult(metadata.ListLiveSubscriptions(request));

    public override Task<CreateGroupResponse> CreateGroup(CreateGroupRequest request, ServerCallContext context) =>
        AnswerAsync(() => groups.CreateAsync(
            request, AdminForwarder.IsForwarded(context), context.CancellationToken));

    public override Task<UpdateGroupResponse> UpdateGroup(UpdateGroupRequest request, ServerCallContext context) =>
        AnswerAsync(() => groups.UpdateAsync(
            request, AdminForwarder.IsForwarded(context), context.CancellationToken));

    public override Task<ListGroupsResponse> ListGroups(ListGroupsRequest request, ServerCallContext context) =>
        AnswerAsync(() => groups.ListAsync(request, context.CancellationToken));

    public override Task<DescribeGroupResponse> DescribeGroup(
        DescribeGroupRequest request, ServerCallContext context) =>
        AnswerAsync(() => groups.DescribeAsync(request, context.CancellationToken));

    public override Task<PeekGroupResponse> PeekGroup(PeekGroupRequest request, ServerCallContext context) =>
        AnswerAsync(() => peeks.PeekAsync(request, context.CancellationToken));

    public override Task<DeleteGroupResponse> DeleteGroup(DeleteGroupRequest request, ServerCallContext context) =>
        AnswerAsync(() => groups.DeleteAsync(
            request, AdminForwarder.IsForwarded(context), context.CancellationToken));

    public override Task<SeekGroupResponse> SeekGroup(SeekGroupRequest request, ServerCallContext context) =>
        AnswerAsync(() => groups.SeekAsync(request, context.CancellationToken));

    public override Task<ListDeadLettersResponse> ListDeadLetters(
        ListDeadLettersRequest request, ServerCallContext context) =>
        AnswerAsync(() => deadLetters.ListAsync(request, context.CancellationToken));

    public override Task<RedriveDeadLettersResponse> RedriveDeadLetters(
        RedriveDeadLettersRequest request, ServerCallContext context) =>
        AnswerAsync(() => deadLetters.RedriveAsync(request, context.CancellationToken));

    public override Task<PurgeDeadLettersResponse> PurgeDeadLetters(
        PurgeDeadLettersRequest request, ServerCallContext context) =>
        AnswerAsync(() => deadLetters.PurgeAsync(request, context.CancellationToken));

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
