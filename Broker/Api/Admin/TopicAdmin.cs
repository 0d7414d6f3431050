using System.Buffers;
using Broker.Cluster;
using Broker.Delivery;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Topics;

namespace Broker.Api;

/// <summary>
/// What operators do with topics. A topic's commands go to the leader of its shard. Of a topic of several partitions
/// the leaders of the other shards follow by themselves (<see cref="PartitionDuties"/>), and the answer waits until
/// this node sees that they have.
/// </summary>
internal sealed class TopicAdmin(
    BrokerNode node,
    AdminForwarder forwarder,
    TopicFinder finder,
    TopicMaker maker,
    GroupAdmin groups,
    TimeProvider time)
{
    /// <summary>
    /// Shards follow in milliseconds, or when they have a leader; less than a forwarded call may take.
    /// </summary>
    private static readonly TimeSpan FollowPatience = TimeSpan.FromSeconds(4);

    /// <summary>Looks at up to 1,000 partitions, in some 0.1 ms.</summary>
    private static readonly TimeSpan FollowInterval = TimeSpan.FromMilliseconds(5);

    public ListTopicsResponse List(ListTopicsRequest request, bool isForwarded)
    {
        if (isForwarded)
        {
            return FindEntry(request.Filter);
        }

        var filter = TopicFinder.ParseFilter(request.Filter.Length == 0 ? ">" : request.Filter);
        var size = PageTokens.SizeOf(request.PageSize, Limits.DefaultTopicsPerPage, Limits.TopicsPerPage);

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
        return response;
    }

    public async Task<CreateTopicResponse> CreateAsync(
        CreateTopicRequest request, bool isForwarded, CancellationToken cancellationToken)
    {
        // The topic of a group's dead letters is made by the brokers, at whichever of them leads its shard.
        var isOwn = isForwarded && DeadLetters.GroupOf(request.Name) is not null;
        TopicFinder.CheckName(request.Name, toPublish: !isOwn);
        var (settings, parts) = TopicConfigs.Read(request.Config);
        TopicPlan? plan = null;
        var response = await forwarder.ChangeAsync(
            node.Shards.GroupOf(request.Name),
            async () =>
            {
                var policies = await maker.LatestPoliciesAsync(cancellationToken);
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
            isForwarded,
            cancellationToken);
        if (response.Config.Partitions > 1)
        {
            await WaitUntilMadeAsync(request.Name, cancellationToken);
        }

        return response;
    }

    public async Task<UpdateTopicResponse> UpdateAsync(
        UpdateTopicRequest request, bool isForwarded, CancellationToken cancellationToken)
    {
        TopicFinder.CheckName(request.Name, toPublish: true);
        var (settings, parts) = TopicConfigs.Read(request.Config);
        var group = node.Shards.GroupOf(request.Name);
        await CheckPartitionsAsync(group, request, cancellationToken);
        var command = new ArrayBufferWriter<byte>();
        TopicCommands.WriteUpdateTopic(command, request.Name, parts, settings);
        var response = await forwarder.ChangeAsync(
            group,
            () => Task.FromResult(command.WrittenMemory),
            static (client, message, options) => client.UpdateTopicAsync(message, options),
            request,
            result => result.Code switch
            {
                RefusalCode.None when node.TopicsOf(group).TryGetTopic(request.Name, out var topic) =>
                    new UpdateTopicResponse { Config = TopicConfigs.Write(topic.Settings, topic.Partitions) },
                RefusalCode.InvalidArgument => throw Contradicts(node.TopicsOf(group), request.Name, settings, parts),
                _ => throw TopicFinder.NoSuch(request.Name),
            },
            isForwarded,
            cancellationToken);
        await WaitUntilChangedAsync(request.Name, cancellationToken);
        return response;
    }

    public async Task<DeleteTopicResponse> DeleteAsync(
        DeleteTopicRequest request, bool isForwarded, CancellationToken cancellationToken)
    {
        var owner = DeadLetters.GroupOf(request.Name);
        TopicFinder.CheckName(request.Name, toPublish: owner is null);
        if (owner is not null && await groups.ExistsAsync(owner, cancellationToken))
        {
            throw Refusal.GroupExists(request.Name, owner);
        }

        var command = new ArrayBufferWriter<byte>();
        TopicCommands.WriteDeleteTopic(command, request.Name);
        var group = node.Shards.GroupOf(request.Name);
        var known = await finder.FindLatestAsync(group, request.Name, cancellationToken);
        var response = await forwarder.ChangeAsync(
            group,
            () => Task.FromResult(command.WrittenMemory),
            static (client, message, options) => client.DeleteTopicAsync(message, options),
            request,
            result => result.Code == RefusalCode.None
                ? new DeleteTopicResponse()
                : throw TopicFinder.NoSuch(request.Name),
            isForwarded,
            cancellationToken);
        if (known is { Partitions: > 1 } partitioned)
        {
            await WaitUntilRemovedAsync(group, partitioned, cancellationToken);
        }

        return response;
    }

    public async Task<DescribeTopicResponse> DescribeAsync(
        DescribeTopicRequest request, CancellationToken cancellationToken)
    {
        TopicFinder.CheckName(request.Name, toPublish: false);
        var group = node.Shards.GroupOf(request.Name);
        if (request.Linearizable)
        {
            await finder.CatchUpAsync([group], cancellationToken);
        }

        var topic = await finder.FindAsync(group, request.Name, cancellationToken);
        if (request.Linearizable && topic.Partitions > 1)
        {
            var shards = Enumerable.Range(0, topic.Partitions).Select(each => node.Shards.GroupOf(group, each));
            await finder.CatchUpAsync(shards.Distinct(), cancellationToken);
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

    /// <summary>One entry of a shard by its name there, for another node that wants to know how far it is.</summary>
    private ListTopicsResponse FindEntry(string name)
    {
        var response = new ListTopicsResponse();
        foreach (var (group, machine) in node.DataShards)
        {
            if (machine.TryGetTopic(name, out var entry))
            {
                response.Topics.Add(new TopicDescription
                {
                    Name = name,
                    Shard = (uint)group.Value,
                    FirstOffset = entry.FirstOffset,
                    NextOffset = entry.NextOffset,
                    TopicId = new TopicId(group, entry.Number).Value,
                });
            }
        }

        return response;
    }

    private TopicDescription Describe(GroupId group, TopicView topic)
    {
        var description = new TopicDescription
        {
            Name = topic.Name,
            Shard = (uint)group.Value,
            NextOffset = topic.NextOffset,
            FirstOffset = topic.FirstOffset,
            TopicId = new TopicId(group, topic.Number).Value,
        };
        if (topic.Partitions > 1)
        {
            (description.NextOffset, description.FirstOffset) = (0, 0);
            for (var partition = 0; partition < topic.Partitions; partition++)
            {
                var offsets = new PartitionOffsets();
                if (finder.TryFindPartition(group, topic, partition, out var view))
                {
                    (offsets.FirstOffset, offsets.NextOffset) = (view.FirstOffset, view.NextOffset);
                }

                description.Partitions.Add(offsets);
                description.FirstOffset += offsets.FirstOffset;
                description.NextOffset += offsets.NextOffset;
            }
        }

        return description;
    }

    private PartitionDescription DescribePartition(GroupId home, in TopicView topic, int partition)
    {
        var group = topic.Partitions > 1 ? node.Shards.GroupOf(home, partition) : home;
        var description = new PartitionDescription
        {
            Partition = (uint)partition,
            Shard = (uint)group.Value,
            Leader = (uint)node.Group(group).Status.Leader.Value,
        };
        if (finder.TryFindPartition(home, topic, partition, out var view))
        {
            description.FirstOffset = view.FirstOffset;
            description.NextOffset = view.NextOffset;
            description.SizeBytes = (ulong)view.SizeBytes;
            description.LastTimestampUnixMs = view.LastTimestampUnixMs;
        }

        return description;
    }

    /// <summary>A topic is fixed in this when it comes to be: keys would change their partitions.</summary>
    private async Task CheckPartitionsAsync(
        GroupId home, UpdateTopicRequest request, CancellationToken cancellationToken)
    {
        if (request.Config?.Partitions is { } wanted
            && (await finder.FindAsync(home, request.Name, cancellationToken)).Partitions is var actual
            && actual != wanted)
        {
            throw Refusal.InvalidArgument(
                $"config.partitions is {wanted}, but topic '{request.Name}' has {actual} for as long as it lives: keys "
                + "would change their partitions. Nothing was changed.");
        }
    }

    /// <summary>What is changed does not go with what the topic has.</summary>
    private static BrokerException Contradicts(
        TopicStateMachine topics, string name, Topics.TopicSettings settings, TopicSettingParts parts)
    {
        var why = topics.TryGetTopic(name, out var topic) ? settings.Over(topic.Settings, parts).Contradiction : null;
        return Refusal.InvalidArgument(
            $"Topic '{name}' cannot have that beside its other settings. Nothing was changed. {why}".TrimEnd());
    }

    private Task WaitUntilMadeAsync(string topic, CancellationToken cancellationToken)
    {
        var home = node.Shards.GroupOf(topic);
        return WaitAsync(
            topic,
            "made",
            () => node.TopicsOf(home).TryGetTopic(topic, out var view) && view.IsComplete
                && Enumerable.Range(0, view.Partitions).All(
                    partition => finder.TryFindPartition(home, view, partition, out _)),
            cancellationToken);
    }

    private Task WaitUntilChangedAsync(string topic, CancellationToken cancellationToken)
    {
        var home = node.Shards.GroupOf(topic);
        return WaitAsync(
            topic,
            "changed",
            () => !node.TopicsOf(home).TryGetTopic(topic, out var view) || view.Partitions == 1
                || Enumerable.Range(1, view.Partitions - 1).All(partition =>
                    finder.TryFindPartition(home, view, partition, out var found)
                    && found.SettingsVersion >= view.SettingsVersion),
            cancellationToken);
    }

    /// <summary>
    /// Until then a node that does not know of the deletion could have a batch stored, which would be lost.
    /// </summary>
    private Task WaitUntilRemovedAsync(GroupId home, TopicView removed, CancellationToken cancellationToken) =>
        WaitAsync(
            removed.Name,
            "removed",
            () => Enumerable.Range(0, removed.Partitions).All(partition =>
                removed.PartitionNumber(partition) is var number
                && (number < 0 || node.TopicsOf(node.Shards.GroupOf(home, partition)).HasLost(
                    removed.PartitionNameOf(partition), number))),
            cancellationToken);

    private async Task WaitAsync(string topic, string what, Func<bool> isDone, CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(FollowPatience);
        try
        {
            while (!isDone())
            {
                await Task.Delay(FollowInterval, time, patience.Token);
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw Refusal.PartitionsLag(topic, what);
        }
    }
}
