using System.Buffers;
using Broker.Consensus;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Topics;
using Grpc.Core;

namespace Broker.Api;

/// <summary>
/// What concerns topics of several partitions. A change is one command to the topic; the leaders of the other shards
/// follow by themselves (<see cref="PartitionDuties"/>), and the answer waits until this node sees that they have.
/// </summary>
internal sealed partial class AdminService
{
    /// <summary>
    /// Shards follow in milliseconds, or when they have a leader; less than a forwarded call may take.
    /// </summary>
    private static readonly TimeSpan FollowPatience = TimeSpan.FromSeconds(4);

    /// <summary>Looks at up to 1,000 partitions, in some 0.1 ms.</summary>
    private static readonly TimeSpan FollowInterval = TimeSpan.FromMilliseconds(5);

    /// <summary>Each time somebody changes the topic between the look at it and the purge.</summary>
    private const int PurgeTries = 10;

    /// <summary>Partitions of a topic that are purged at a time.</summary>
    private const int PurgesAtOnce = 16;

    public override async Task<PurgeTopicResponse> PurgeTopic(PurgeTopicRequest request, ServerCallContext context)
    {
        CheckTopic(request.Name, toPublish: false);
        if (request.BeforeOffset < 0)
        {
            throw StatusMap.ToRpcException(Refusal.InvalidArgument(
                $"Offset {request.BeforeOffset} is negative; offsets begin at 0."));
        }

        CheckTime(request);
        var home = node.Shards.GroupOf(request.Name);
        var topic = await FindTopicAsync(home, request.Name, context);
        if (request.Partition is { } only)
        {
            return only < topic.Partitions
                ? await PurgeAsync(home, topic, (int)only, request, context)
                : throw StatusMap.ToRpcException(Refusal.NoSuchPartition(request.Name, only, topic.Partitions));
        }

        if (request.BeforeOffset is not null && topic.Partitions > 1)
        {
            throw StatusMap.ToRpcException(Refusal.InvalidArgument(
                $"before_offset is set, and topic '{request.Name}' has {topic.Partitions} partitions with offsets of "
                + "their own. Nothing was purged; name the partition, too."));
        }

        var firstOffsets = new long[topic.Partitions];
        var parallel = new ParallelOptions
        {
            MaxDegreeOfParallelism = PurgesAtOnce,
            CancellationToken = context.CancellationToken,
        };
        await Parallel.ForAsync(0, topic.Partitions, parallel, async (partition, _) =>
            firstOffsets[partition] =
                (await PurgeAsync(home, topic, partition, request, context)).FirstOffsets[0]);
        return new PurgeTopicResponse { FirstOffsets = { firstOffsets } };
    }

    private static void CheckTime(PurgeTopicRequest request)
    {
        if (request.BeforeTimeUnixMs < 0)
        {
            throw StatusMap.ToRpcException(Refusal.InvalidArgument(
                $"before_time_unix_ms is {request.BeforeTimeUnixMs}; a time is in milliseconds since 1970 and not "
                + "negative."));
        }

        if (request.BeforeTimeUnixMs is not null && request.BeforeOffset is not null)
        {
            throw StatusMap.ToRpcException(Refusal.InvalidArgument(
                "before_offset and before_time_unix_ms are both set. Nothing was purged; set one of them, or none to "
                + "remove all records."));
        }
    }

    private async Task<PurgeTopicResponse> PurgeAsync(
        GroupId home, TopicView topic, int partition, PurgeTopicRequest request, ServerCallContext context)
    {
        var isPartitioned = topic.Partitions > 1;
        var name = isPartitioned ? topic.PartitionNameOf(partition) : topic.Name;
        var group = isPartitioned ? node.Shards.GroupOf(home, partition) : home;
        var alone = new PurgeTopicRequest
        {
            Name = topic.Name,
            Partition = (uint)partition,
            BeforeOffset = request.BeforeOffset,
            BeforeTimeUnixMs = request.BeforeTimeUnixMs,
        };
        if (request.BeforeTimeUnixMs is { } time)
        {
            return await PurgeBeforeTimeAsync(group, name, time, alone, context);
        }

        var command = new ArrayBufferWriter<byte>();
        TopicCommands.WritePurgeTopic(command, name, request.BeforeOffset ?? -1);
        return await ChangeAsync(
            group,
            command.WrittenMemory,
            static (client, message, options) => client.PurgeTopicAsync(message, options),
            alone,
            result => result.Code switch
            {
                RefusalCode.None => new PurgeTopicResponse { FirstOffsets = { result.BaseOffset } },
                RefusalCode.NotFound => throw NoSuchTopic(name),
                _ => throw Refusal.OutOfRange(
                    $"Offset {request.BeforeOffset} of topic '{name}' is beyond its end; its next offset is "
                    + $"{result.BaseOffset}. Nothing was purged."),
            },
            context);
    }

    /// <summary>
    /// The leader says which offset that is, when it has applied all that was acknowledged. What it proposes names the
    /// topic's number and the version of its settings: a topic that was made again meanwhile is not touched.
    /// </summary>
    private async Task<PurgeTopicResponse> PurgeBeforeTimeAsync(
        GroupId group, string name, long beforeUnixMs, PurgeTopicRequest alone, ServerCallContext context)
    {
        for (var tries = 1; ; tries++)
        {
            var wanted = 0L;
            var response = await ChangeAsync(
                group,
                async () =>
                {
                    await node.Group(group).ReadIndexAsync(context.CancellationToken);
                    var topic = node.TopicsOf(group).TryGetTopic(name, out var found) ? found : throw NoSuchTopic(name);
                    if (!topic.TryFindTime(beforeUnixMs, out wanted))
                    {
                        throw Refusal.FailedPrecondition(
                            $"Node {node.Options.NodeId}, which leads the shard, cannot say now where topic '{name}' "
                            + "was at that time: a part of its index is damaged, and is being mended. Nothing was "
                            + "purged; retry later.");
                    }

                    var command = new ArrayBufferWriter<byte>();
                    TopicCommands.WriteTrimTopic(command, topic.Number, topic.SettingsVersion, wanted);
                    return command.WrittenMemory;
                },
                static (client, message, options) => client.PurgeTopicAsync(message, options),
                alone,
                result => new PurgeTopicResponse { FirstOffsets = { result.BaseOffset } },
                context);
            if (response.FirstOffsets[0] >= wanted)
            {
                return response;
            }

            if (tries == PurgeTries)
            {
                throw StatusMap.ToRpcException(Refusal.FailedPrecondition(
                    $"Topic '{name}' is changed all the time, or made anew. Nothing was purged; retry."));
            }
        }
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
                if (TryFindPartition(group, topic, partition, out var view))
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
        if (TryFindPartition(home, topic, partition, out var view))
        {
            description.FirstOffset = view.FirstOffset;
            description.NextOffset = view.NextOffset;
            description.SizeBytes = (ulong)view.SizeBytes;
            description.LastTimestampUnixMs = view.LastTimestampUnixMs;
        }

        return description;
    }

    /// <summary>False: it is not made yet, or this node does not have it yet.</summary>
    private bool TryFindPartition(GroupId home, in TopicView topic, int partition, out TopicView view)
    {
        view = topic;
        return partition == 0
            || (node.TopicsOf(node.Shards.GroupOf(home, partition)).TryGetTopic(
                    topic.PartitionNameOf(partition), out view)
                && view.Number == topic.PartitionNumber(partition));
    }

    /// <summary>A topic is fixed in this when it comes to be: keys would change their partitions.</summary>
    private async Task CheckPartitionsAsync(GroupId home, UpdateTopicRequest request, ServerCallContext context)
    {
        if (request.Config?.Partitions is { } wanted
            && (await FindTopicAsync(home, request.Name, context)).Partitions is var actual && actual != wanted)
        {
            throw StatusMap.ToRpcException(Refusal.InvalidArgument(
                $"config.partitions is {wanted}, but topic '{request.Name}' has {actual} for as long as it lives: keys "
                + "would change their partitions. Nothing was changed."));
        }
    }

    private Task WaitUntilMadeAsync(string topic, ServerCallContext context)
    {
        var home = node.Shards.GroupOf(topic);
        return WaitAsync(
            topic,
            "made",
            () => node.TopicsOf(home).TryGetTopic(topic, out var view) && view.IsComplete
                && Enumerable.Range(0, view.Partitions).All(
                    partition => TryFindPartition(home, view, partition, out _)),
            context);
    }

    private Task WaitUntilChangedAsync(string topic, ServerCallContext context)
    {
        var home = node.Shards.GroupOf(topic);
        return WaitAsync(
            topic,
            "changed",
            () => !node.TopicsOf(home).TryGetTopic(topic, out var view) || view.Partitions == 1
                || Enumerable.Range(1, view.Partitions - 1).All(partition =>
                    TryFindPartition(home, view, partition, out var found)
                    && found.SettingsVersion >= view.SettingsVersion),
            context);
    }

    /// <summary>
    /// The topic as the leader, if that is this node, knows it when everything is applied that was committed until now.
    /// </summary>
    private async Task<TopicView?> FindLatestAsync(GroupId home, string name, ServerCallContext context)
    {
        try
        {
            if (node.Group(home).Status.Role == RaftRole.Leader)
            {
                await node.Group(home).ReadIndexAsync(context.CancellationToken);
            }
        }
        catch (BrokerException refusal)
        {
            throw StatusMap.ToRpcException(refusal);
        }

        return node.TopicsOf(home).TryGetTopic(name, out var topic) ? topic : null;
    }

    /// <summary>
    /// Until then a node that does not know of the deletion could have a batch stored, which would be lost.
    /// </summary>
    private Task WaitUntilRemovedAsync(GroupId home, TopicView removed, ServerCallContext context) => WaitAsync(
        removed.Name,
        "removed",
        () => Enumerable.Range(0, removed.Partitions).All(partition =>
            removed.PartitionNumber(partition) is var number
            && (number < 0 || node.TopicsOf(node.Shards.GroupOf(home, partition)).HasLost(
                removed.PartitionNameOf(partition), number))),
        context);

    private async Task WaitAsync(string topic, string what, Func<bool> isDone, ServerCallContext context)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken);
        patience.CancelAfter(FollowPatience);
        try
        {
            while (!isDone())
            {
                await Task.Delay(FollowInterval, time, patience.Token);
            }
        }
        catch (OperationCanceledException) when (!context.CancellationToken.IsCancellationRequested)
        {
            throw StatusMap.ToRpcException(Refusal.PartitionsLag(topic, what));
        }
    }
}
