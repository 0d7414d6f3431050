using System.Buffers;
using Broker.Client;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Topics;
using Grpc.Core;

namespace Broker.Api;

/// <summary>What operators do with topics. A topic's commands go to the leader of its shard.</summary>
internal sealed partial class AdminService
{
    public override Task<ListTopicsResponse> ListTopics(ListTopicsRequest request, ServerCallContext context)
    {
        var filter = ParseFilter(request.Filter.Length == 0 ? ">" : request.Filter);
        var size = PageSize(request.PageSize, Limits.DefaultTopicsPerPage, Limits.TopicsPerPage);

        // One more than wanted shows whether there is a next page. Names are the tokens: any node knows where to go on.
        var topics = node.DataShards
            .SelectMany(
                shard => shard.Machine.ListTopics(filter, request.PageToken, size + 1),
                (shard, topic) => (shard.Group, Topic: topic))
            .OrderBy(found => found.Topic.Name, StringComparer.Ordinal)
            .Take(size + 1)
            .ToList();
        var response = new ListTopicsResponse();
        foreach (var (group, topic) in topics.Take(size))
        {
            response.Topics.Add(Describe(group, topic));
        }

        response.NextPageToken = topics.Count > size ? response.Topics[^1].Name : "";
        return Task.FromResult(response);
    }

    public override async Task<CreateTopicResponse> CreateTopic(CreateTopicRequest request, ServerCallContext context)
    {
        CheckTopic(request.Name, toPublish: true);
        var (settings, _) = TopicConfigs.Read(request.Config);
        var command = new ArrayBufferWriter<byte>();
        TopicCommands.WriteCreateTopic(command, request.Name, settings);
        return await ChangeAsync(
            node.Shards.GroupOf(request.Name),
            command.WrittenMemory,
            static (client, message, options) => client.CreateTopicAsync(message, options),
            request,
            result => result.Code switch
            {
                RefusalCode.None => new CreateTopicResponse { Config = TopicConfigs.Write(settings) },
                RefusalCode.AlreadyExists => throw Refusal.AlreadyExists(
                    $"There is a topic '{request.Name}' with another configuration. Nothing was changed; UpdateTopic "
                    + "changes it, DescribeTopic shows it."),
                _ => throw Refusal.TooManyTopics(request.Name),
            },
            context);
    }

    public override async Task<UpdateTopicResponse> UpdateTopic(UpdateTopicRequest request, ServerCallContext context)
    {
        CheckTopic(request.Name, toPublish: true);
        var (settings, parts) = TopicConfigs.Read(request.Config);
        var group = node.Shards.GroupOf(request.Name);
        var command = new ArrayBufferWriter<byte>();
        TopicCommands.WriteUpdateTopic(command, request.Name, parts, settings);
        return await ChangeAsync(
            group,
            command.WrittenMemory,
            static (client, message, options) => client.UpdateTopicAsync(message, options),
            request,
            result => result.Code == RefusalCode.None && node.TopicsOf(group).TryGetTopic(request.Name, out var topic)
                ? new UpdateTopicResponse { Config = TopicConfigs.Write(topic.Settings) }
                : throw NoSuchTopic(request.Name),
            context);
    }

    public override async Task<DeleteTopicResponse> DeleteTopic(DeleteTopicRequest request, ServerCallContext context)
    {
        CheckTopic(request.Name, toPublish: true);
        var command = new ArrayBufferWriter<byte>();
        TopicCommands.WriteDeleteTopic(command, request.Name);
        return await ChangeAsync(
            node.Shards.GroupOf(request.Name),
            command.WrittenMemory,
            static (client, message, options) => client.DeleteTopicAsync(message, options),
            request,
            result => result.Code == RefusalCode.None ? new DeleteTopicResponse() : throw NoSuchTopic(request.Name),
            context);
    }

    public override async Task<PurgeTopicResponse> PurgeTopic(PurgeTopicRequest request, ServerCallContext context)
    {
        CheckPurge(request);
        var command = new ArrayBufferWriter<byte>();
        TopicCommands.WritePurgeTopic(command, request.Name, request.BeforeOffset ?? -1);
        return await ChangeAsync(
            node.Shards.GroupOf(request.Name),
            command.WrittenMemory,
            static (client, message, options) => client.PurgeTopicAsync(message, options),
            request,
            result => result.Code switch
            {
                RefusalCode.None => new PurgeTopicResponse { FirstOffsets = { result.BaseOffset } },
                RefusalCode.NotFound => throw NoSuchTopic(request.Name),
                _ => throw Refusal.OutOfRange(
                    $"Offset {request.BeforeOffset} of topic '{request.Name}' is beyond its end; its next offset is "
                    + $"{result.BaseOffset}. Nothing was purged."),
            },
            context);
    }

    public override async Task<DescribeTopicResponse> DescribeTopic(
        DescribeTopicRequest request, ServerCallContext context)
    {
        CheckTopic(request.Name, toPublish: false);
        var group = node.Shards.GroupOf(request.Name);
        try
        {
            await catchUp.WaitAsync(group, request.Name, 0, context.CancellationToken);
        }
        catch (BrokerException refusal)
        {
            throw StatusMap.ToRpcException(refusal);
        }

        if (!node.TopicsOf(group).TryGetTopic(request.Name, out var topic))
        {
            throw StatusMap.ToRpcException(NoSuchTopic(request.Name));
        }

        return new DescribeTopicResponse
        {
            Topic = Describe(group, topic),
            Config = TopicConfigs.Write(topic.Settings),
            Partitions =
            {
                new PartitionDescription
                {
                    Shard = (uint)group.Value,
                    Leader = (uint)node.Group(group).Status.Leader.Value,
                    FirstOffset = topic.FirstOffset,
                    NextOffset = topic.NextOffset,
                    SizeBytes = (ulong)topic.SizeBytes,
                    LastTimestampUnixMs = topic.LastTimestampUnixMs,
                },
            },
        };
    }

    private static TopicDescription Describe(GroupId group, TopicView topic) => new()
    {
        Name = topic.Name,
        Shard = (uint)group.Value,
        NextOffset = topic.NextOffset,
        FirstOffset = topic.FirstOffset,
        TopicId = new TopicId(group, topic.Number).Value,
    };

    private static BrokerException NoSuchTopic(string name) => Refusal.NotFound($"There is no topic '{name}'.");

    private static void CheckPurge(PurgeTopicRequest request)
    {
        CheckTopic(request.Name, toPublish: false);
        if (request.BeforeOffset < 0)
        {
            throw StatusMap.ToRpcException(Refusal.InvalidArgument(
                $"Offset {request.BeforeOffset} is negative; offsets begin at 0."));
        }

        if (request.Partition > 0)
        {
            throw StatusMap.ToRpcException(Refusal.NotFound(
                $"Topic '{request.Name}' has no partition {request.Partition}; its only one is 0."));
        }
    }

    /// <summary>A topic of the broker's own can be read and purged, not made, changed or deleted.</summary>
    private static void CheckTopic(string name, bool toPublish)
    {
        var isValid = toPublish
            ? TopicName.ValidateForPublish(name, out var reason)
            : TopicName.Validate(name, out reason);
        if (!isValid)
        {
            throw StatusMap.ToRpcException(Refusal.InvalidArgument(reason!));
        }
    }
}
