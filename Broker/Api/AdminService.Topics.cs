using System.Buffers;
using Broker.Client;
using Broker.Delivery;
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
        if (AdminForwarder.IsForwarded(context))
        {
            return Task.FromResult(FindEntry(request.Filter));
        }

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
        var partitions = 0;
        foreach (var (group, topic) in topics.Take(size))
        {
            partitions += topic.Partitions > 1 ? topic.Partitions : 0;
            if (partitions > Limits.PartitionsPerPage && response.Topics.Count > 0)
            {
                break;
            }

            response.Topics.Add(Describe(group, topic));
        }

        response.NextPageToken = topics.Count > response.Topics.Count ? response.Topics[^1].Name : "";
        return Task.FromResult(response);
    }

    public override async Task<CreateTopicResponse> CreateTopic(CreateTopicRequest request, ServerCallContext context)
    {
        // The topic of a group's dead letters is made by the brokers, at whichever of them leads its shard.
        var isOwn = AdminForwarder.IsForwarded(context) && DeadLetters.GroupOf(request.Name) is not null;
        CheckTopic(request.Name, toPublish: !isOwn);
        var (settings, parts) = TopicConfigs.Read(request.Config);
        TopicPlan? plan = null;
        var response = await ChangeAsync(
            node.Shards.GroupOf(request.Name),
            async () =>
            {
                var policies = await maker.LatestPoliciesAsync(context.CancellationToken);
                plan = maker.Plan(policies, request.Name, parts, settings, (int?)request.Config?.Partitions);
                return plan.Command.WrittenMemory;
            },
            static (client, message, options) => client.CreateTopicAsync(message, options),
            request,
            result => result.Code switch
            {
                RefusalCode.None => new CreateTopicResponse
                {
                    Config = TopicConfigs.Write(plan!.Settings, plan.Partitions),
                },
                RefusalCode.AlreadyExists => throw Refusal.AlreadyExists(
                    $"There is a topic '{request.Name}' with another configuration. Nothing was changed; UpdateTopic "
                    + "changes it, DescribeTopic shows it."),
                _ => throw Refusal.TooManyTopics(request.Name),
            },
            context);
        if (response.Config.Partitions > 1)
        {
            await WaitUntilMadeAsync(request.Name, context);
        }

        return response;
    }

    public override async Task<UpdateTopicResponse> UpdateTopic(UpdateTopicRequest request, ServerCallContext context)
    {
        CheckTopic(request.Name, toPublish: true);
        var (settings, parts) = TopicConfigs.Read(request.Config);
        var group = node.Shards.GroupOf(request.Name);
        await CheckPartitionsAsync(group, request, context);
        var command = new ArrayBufferWriter<byte>();
        TopicCommands.WriteUpdateTopic(command, request.Name, parts, settings);
        var response = await ChangeAsync(
            group,
            command.WrittenMemory,
            static (client, message, options) => client.UpdateTopicAsync(message, options),
            request,
            result => result.Code switch
            {
                RefusalCode.None when node.TopicsOf(group).TryGetTopic(request.Name, out var topic) =>
                    new UpdateTopicResponse { Config = TopicConfigs.Write(topic.Settings, topic.Partitions) },
                RefusalCode.InvalidArgument => throw Contradicts(node.TopicsOf(group), request.Name, settings, parts),
                _ => throw NoSuchTopic(request.Name),
            },
            context);
        await WaitUntilChangedAsync(request.Name, context);
        return response;
    }

    public override async Task<DeleteTopicResponse> DeleteTopic(DeleteTopicRequest request, ServerCallContext context)
    {
        var owner = DeadLetters.GroupOf(request.Name);
        CheckTopic(request.Name, toPublish: owner is null);
        if (owner is not null && await AnswerAsync(() => groups.ExistsAsync(owner, context.CancellationToken)))
        {
            throw StatusMap.ToRpcException(Refusal.GroupExists(request.Name, owner));
        }

        var command = new ArrayBufferWriter<byte>();
        TopicCommands.WriteDeleteTopic(command, request.Name);
        var group = node.Shards.GroupOf(request.Name);
        var known = await FindLatestAsync(group, request.Name, context);
        var response = await ChangeAsync(
            group,
            command.WrittenMemory,
            static (client, message, options) => client.DeleteTopicAsync(message, options),
            request,
            result => result.Code == RefusalCode.None ? new DeleteTopicResponse() : throw NoSuchTopic(request.Name),
            context);
        if (known is { Partitions: > 1 } partitioned)
        {
            await WaitUntilRemovedAsync(group, partitioned, context);
        }

        return response;
    }

    public override async Task<DescribeTopicResponse> DescribeTopic(
        DescribeTopicRequest request, ServerCallContext context)
    {
        CheckTopic(request.Name, toPublish: false);
        var group = node.Shards.GroupOf(request.Name);
        if (request.Linearizable)
        {
            await CatchUpAsync([group], context);
        }

        var topic = await FindTopicAsync(group, request.Name, context);
        if (request.Linearizable && topic.Partitions > 1)
        {
            var shards = Enumerable.Range(0, topic.Partitions).Select(each => node.Shards.GroupOf(group, each));
            await CatchUpAsync(shards.Distinct(), context);
        }

        var response = new DescribeTopicResponse
        {
            Topic = Describe(group, topic),
            Config = TopicConfigs.Write(topic.Settings, topic.Partitions),
        };
        for (var partition = 0; partition < topic.Partitions; partition++)
        {
            response.Partitions.Add(DescribePartition(group, topic, partition));
        }

        return response;
    }

    private async Task CatchUpAsync(IEnumerable<GroupId> shards, ServerCallContext context)
    {
        try
        {
            await Task.WhenAll(shards.Select(each => node.CatchUpAsync(each, context.CancellationToken)));
        }
        catch (BrokerException refusal)
        {
            throw StatusMap.ToRpcException(refusal);
        }
    }

    /// <summary>As this node has applied it; when it does not have the topic, the leader is asked first.</summary>
    private async Task<TopicView> FindTopicAsync(GroupId group, string name, ServerCallContext context)
    {
        try
        {
            await catchUp.WaitAsync(group, name, 0, context.CancellationToken);
        }
        catch (BrokerException refusal)
        {
            throw StatusMap.ToRpcException(refusal);
        }

        return node.TopicsOf(group).TryGetTopic(name, out var topic)
            ? topic
            : throw StatusMap.ToRpcException(NoSuchTopic(name));
    }

    /// <summary>What is changed does not go with what the topic has.</summary>
    private static BrokerException Contradicts(
        TopicStateMachine topics, string name, Topics.TopicSettings settings, TopicSettingParts parts)
    {
        var why = topics.TryGetTopic(name, out var topic) ? settings.Over(topic.Settings, parts).Contradiction : null;
        return Refusal.InvalidArgument(
            $"Topic '{name}' cannot have that beside its other settings. Nothing was changed. {why}".TrimEnd());
    }

    private static BrokerException NoSuchTopic(string name) => Refusal.NotFound($"There is no topic '{name}'.");

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
