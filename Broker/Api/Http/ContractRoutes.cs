using Broker.Protocol.V1;
using Google.Protobuf;
using Wire = Broker.Protocol.Wire;

namespace Broker.Api;

/// <summary>Which calls of the contract have which addresses.</summary>
internal sealed class ContractRoutes(ContractCalls calls, AdminService admin, BrokerService broker)
{
    public IEnumerable<HttpOperation> All() => [.. Topics(), .. Groups(), .. DeadLetters(), .. Cluster()];

    private HttpOperation[] Topics() =>
    [
        calls.Of<ListTopicsRequest, ListTopicsResponse>(
            "GET", "/v1/topics", "ListTopics", "Topics, a page at a time", admin.ListTopics),
        calls.Of<CreateTopicRequest, CreateTopicResponse>(
            "POST", "/v1/topics", "CreateTopic", "Make a topic", admin.CreateTopic),
        calls.Of<DescribeTopicRequest, DescribeTopicResponse>(
            "GET", "/v1/topics/{name}", "DescribeTopic", "A topic, its settings and partitions",
            admin.DescribeTopic),
        calls.Of<UpdateTopicRequest, UpdateTopicResponse>(
            "PATCH", "/v1/topics/{name}", "UpdateTopic", "Change a topic's settings", admin.UpdateTopic),
        calls.Of<DeleteTopicRequest, DeleteTopicResponse>(
            "DELETE", "/v1/topics/{name}", "DeleteTopic", "Delete a topic for good", admin.DeleteTopic),
        calls.Of<PurgeTopicRequest, PurgeTopicResponse>(
            "POST", "/v1/topics/{name}:purge", "PurgeTopic", "Remove a topic's records", admin.PurgeTopic),
        calls.Of<ListDelayedRequest, ListDelayedResponse>(
            "GET", "/v1/topics/{topic}/delayed", "ListDelayed", "Records that groups get later",
            admin.ListDelayed),
        calls.Of<CancelDelayedRequest, CancelDelayedResponse>(
            "POST", "/v1/topics/{topic}/delayed:cancel", "CancelDelayed", "Take delayed records back",
            admin.CancelDelayed),
        calls.Of<ListTopicTemplatesRequest, ListTopicTemplatesResponse>(
            "GET", "/v1/topic-templates", "ListTopicTemplates", "Templates for topics to come",
            admin.ListTopicTemplates),
        calls.Of<PutTopicTemplateRequest, PutTopicTemplateResponse>(
            "PUT", "/v1/topic-templates/{filter}", "PutTopicTemplate", "Put a template", admin.PutTopicTemplate),
        calls.Of<DeleteTopicTemplateRequest, DeleteTopicTemplateResponse>(
            "DELETE", "/v1/topic-templates/{filter}", "DeleteTopicTemplate", "Remove a template",
            admin.DeleteTopicTemplate),
        calls.Of<SetAutoCreateRequest, SetAutoCreateResponse>(
            "PUT", "/v1/auto-create", "SetAutoCreate", "Whether a first publish makes a topic",
            admin.SetAutoCreate),
    ];

    private HttpOperation[] Groups() =>
    [
        calls.Of<ListGroupsRequest, ListGroupsResponse>(
            "GET", "/v1/groups", "ListGroups", "Consumer groups, a page at a time", admin.ListGroups),
        calls.Of<CreateGroupRequest, CreateGroupResponse>(
            "POST", "/v1/groups", "CreateGroup", "Make a group", admin.CreateGroup),
        calls.Of<DescribeGroupRequest, DescribeGroupResponse>(
            "GET", "/v1/groups/{name}", "DescribeGroup", "A group, its consumers and how far it is",
            admin.DescribeGroup),
        calls.Of<UpdateGroupRequest, UpdateGroupResponse>(
            "PATCH", "/v1/groups/{name}", "UpdateGroup", "Change a group's settings", admin.UpdateGroup),
        calls.Of<DeleteGroupRequest, DeleteGroupResponse>(
            "DELETE", "/v1/groups/{name}", "DeleteGroup", "Delete a group", admin.DeleteGroup),
        calls.Of<SeekGroupRequest, SeekGroupResponse>(
            "POST", "/v1/groups/{name}:seek", "SeekGroup", "Set where a group goes on", admin.SeekGroup),
        calls.Of<UpdateGroupRequest, UpdateGroupResponse>(
            "POST", "/v1/groups/{name}:pause", "UpdateGroup", "Deliver nothing to a group until it is resumed",
            admin.UpdateGroup, static request => request.Config = new GroupConfig { Paused = true }, "PauseGroup"),
        calls.Of<UpdateGroupRequest, UpdateGroupResponse>(
            "POST", "/v1/groups/{name}:resume", "UpdateGroup", "Deliver to a paused group again",
            admin.UpdateGroup, static request => request.Config = new GroupConfig { Paused = false }, "ResumeGroup"),
        calls.Of<PeekGroupRequest, PeekGroupResponse>(
            "GET", "/v1/groups/{group}/records", "PeekGroup", "Records of a group that are in one state",
            admin.PeekGroup),
        calls.Of<FetchRequest, FetchResponse>(
            "POST", "/v1/groups/{group}:fetch", "Fetch", "Take records of a group to work on",
            async (request, context) => Again<FetchResponse>(
                await broker.Fetch(Again<Wire.FetchRequest>(request), context))),
        calls.Of<SettleRequest, SettleResponse>(
            "POST", "/v1/groups/{group}:settle", "Settle", "Ack, nack, extend or terminate what was fetched",
            async (request, context) => Again<SettleResponse>(
                await broker.Settle(Again<Wire.SettleRequest>(request), context))),
    ];

    private HttpOperation[] DeadLetters() =>
    [
        calls.Of<ListDeadLettersRequest, ListDeadLettersResponse>(
            "GET", "/v1/groups/{group}/dead-letters", "ListDeadLetters", "What a group gave up on",
            admin.ListDeadLetters),
        calls.Of<RedriveDeadLettersRequest, RedriveDeadLettersResponse>(
            "POST", "/v1/groups/{group}/dead-letters:redrive", "RedriveDeadLetters", "Deliver dead letters again",
            admin.RedriveDeadLetters),
        calls.Of<PurgeDeadLettersRequest, PurgeDeadLettersResponse>(
            "POST", "/v1/groups/{group}/dead-letters:purge", "PurgeDeadLetters", "Remove dead letters for good",
            admin.PurgeDeadLetters),
    ];

    private HttpOperation[] Cluster() =>
    [
        calls.Of<GetServerInfoRequest, GetServerInfoResponse>(
            "GET", "/v1/server", "GetServerInfo", "What this broker has and takes", admin.GetServerInfo),
        calls.Of<DescribeClusterRequest, DescribeClusterResponse>(
            "GET", "/v1/cluster", "DescribeCluster", "Nodes, shards and leaders", admin.DescribeCluster),
        calls.Of<AddNodeRequest, AddNodeResponse>(
            "POST", "/v1/cluster/nodes", "AddNode", "Take a node in", admin.AddNode),
        calls.Of<RemoveNodeRequest, RemoveNodeResponse>(
            "DELETE", "/v1/cluster/nodes/{node_id}", "RemoveNode", "Take a node out", admin.RemoveNode),
        calls.Of<DrainNodeRequest, DrainNodeResponse>(
            "POST", "/v1/cluster/nodes/{node_id}:drain", "DrainNode", "Prepare a node for a stop",
            admin.DrainNode, static _ => { }),
        calls.Of<UndrainNodeRequest, UndrainNodeResponse>(
            "POST", "/v1/cluster/nodes/{node_id}:undrain", "UndrainNode", "Let a drained node lead again",
            admin.UndrainNode, static _ => { }),
        calls.Of<SetShardVotersRequest, SetShardVotersResponse>(
            "POST", "/v1/cluster:set-shard-voters", "SetShardVoters", "Say how many nodes vote in each shard",
            admin.SetShardVoters),
        calls.Of<TransferLeadershipRequest, TransferLeadershipResponse>(
            "POST", "/v1/cluster/shards/{shard}:transfer", "TransferLeadership", "Move a shard's leadership",
            admin.TransferLeadership),
    ];

    /// <summary>The same message as the other of the contract's two forms has it.</summary>
    private static T Again<T>(IMessage message)
        where T : IMessage<T>, new()
    {
        var same = new T();
        same.MergeFrom(message.ToByteString());
        return same;
    }
}
