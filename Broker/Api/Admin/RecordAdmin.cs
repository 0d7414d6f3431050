using System.Buffers;
using Broker.Cluster;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Topics;

namespace Broker.Api;

/// <summary>
/// What operators do with the records of topics: remove those at the beginning, and see which delayed ones are to come,
/// and which of them are not to come after all.
/// </summary>
internal sealed class RecordAdmin(BrokerNode node, AdminForwarder forwarder, TopicFinder finder)
{
    /// <summary>Each time somebody changes the topic between the look at it and the purge.</summary>
    private const int PurgeTries = 10;

    /// <summary>Partitions of a topic that are purged at a time.</summary>
    private const int PurgesAtOnce = 16;

    public async Task<PurgeTopicResponse> PurgeAsync(
        PurgeTopicRequest request, bool isForwarded, CancellationToken cancellationToken)
    {
        TopicFinder.CheckName(request.Name, toPublish: false);
        if (request.BeforeOffset < 0)
        {
            throw Refusal.InvalidArgument($"Offset {request.BeforeOffset} is negative; offsets begin at 0.");
        }

        CheckTime(request);
        var home = node.Shards.GroupOf(request.Name);
        var topic = await finder.FindAsync(home, request.Name, cancellationToken);
        if (request.Partition is { } only)
        {
            return only < topic.Partitions
                ? await PurgePartitionAsync(home, topic, (int)only, request, isForwarded, cancellationToken)
                : throw Refusal.NoSuchPartition(request.Name, only, topic.Partitions);
        }

        if (request.BeforeOffset is not null && topic.Partitions > 1)
        {
            throw Refusal.InvalidArgument(
                $"before_offset is set, and topic '{request.Name}' has {topic.Partitions} partitions with offsets of "
                + "their own. Nothing was purged; name the partition, too.");
        }

        var firstOffsets = new long[topic.Partitions];
        var parallel = new ParallelOptions
        {
            MaxDegreeOfParallelism = PurgesAtOnce,
            CancellationToken = cancellationToken,
        };
        await Parallel.ForAsync(0, topic.Partitions, parallel, async (partition, _) =>
            firstOffsets[partition] = (await PurgePartitionAsync(
                home, topic, partition, request, isForwarded, cancellationToken)).FirstOffsets[0]);
        return new PurgeTopicResponse { FirstOffsets = { firstOffsets } };
    }

    public async Task<ListDelayedResponse> ListDelayedAsync(
        ListDelayedRequest request, CancellationToken cancellationToken)
    {
        TopicFinder.CheckName(request.Topic, toPublish: false);
        var (from, offset) = PageTokens.Read(request.PageToken);
        var size = PageTokens.SizeOf(request.PageSize, Limits.DefaultDelayedPerPage, Limits.DelayedPerPage);
        var home = node.Shards.GroupOf(request.Topic);
        await finder.CatchUpAsync([home], cancellationToken);
        var topic = await finder.FindAsync(home, request.Topic, cancellationToken);
        if (request.Partition is { } only && only >= topic.Partitions)
        {
            throw Refusal.NoSuchPartition(request.Topic, only, topic.Partitions);
        }

        var response = new ListDelayedResponse();
        var partition = Math.Max(from, (int)(request.Partition ?? 0));
        for (; partition < topic.Partitions; (partition, offset) = (partition + 1, 0))
        {
            if (request.Partition is { } wanted && wanted != partition)
            {
                break;
            }

            // One more than wanted shows whether there is a next page.
            var room = size + 1 - response.Records.Count;
            foreach (var row in await FindDelayedAsync(home, topic, partition, offset, room, cancellationToken))
            {
                if (response.Records.Count == size)
                {
                    response.NextPageToken = PageTokens.Of(partition, row.Offset);
                    return response;
                }

                response.Records.Add(new DelayedRecord
                {
                    Partition = (uint)partition,
                    Offset = row.Offset,
                    DeliverAtUnixMs = row.DueUnixMs,
                });
            }
        }

        return response;
    }

    public async Task<CancelDelayedResponse> CancelDelayedAsync(
        CancelDelayedRequest request, bool isForwarded, CancellationToken cancellationToken)
    {
        TopicFinder.CheckName(request.Topic, toPublish: false);
        if (request.Offsets.Count is 0 or > Limits.DelayedPerPage || request.Offsets.Any(static each => each < 0))
        {
            throw Refusal.InvalidArgument(
                $"A request names 1 to {Limits.DelayedPerPage:N0} offsets, none of them negative; this one names "
                + $"{request.Offsets.Count:N0}. Take them from ListDelayed, or from the answer to the publish.");
        }

        var home = node.Shards.GroupOf(request.Topic);
        var topic = await finder.FindAsync(home, request.Topic, cancellationToken);
        if (request.Partition >= topic.Partitions)
        {
            throw Refusal.NoSuchPartition(request.Topic, request.Partition, topic.Partitions);
        }

        var (group, name) = finder.PlaceOf(home, topic, (int)request.Partition);
        return await forwarder.ChangeAsync(
            group,
            async () =>
            {
                // The leader knows which topic has the name when it has applied all that was acknowledged.
                await node.Group(group).ReadIndexAsync(cancellationToken);
                var command = new ArrayBufferWriter<byte>();
                var topics = node.TopicsOf(group);
                var view = topics.TryGetTopic(name, out var found) ? found : throw TopicFinder.NoSuch(name);
                DelayCommands.WriteCancel(command, view.Number, request.Offsets);
                return command.WrittenMemory;
            },
            static (client, message, options) => client.CancelDelayedAsync(message, options),
            request,
            static result => new CancelDelayedResponse { Count = (uint)result.Count },
            isForwarded,
            cancellationToken);
    }

    private static void CheckTime(PurgeTopicRequest request)
    {
        if (request.BeforeTimeUnixMs < 0)
        {
            throw Refusal.InvalidArgument(
                $"before_time_unix_ms is {request.BeforeTimeUnixMs}; a time is in milliseconds since 1970 and not "
                + "negative.");
        }

        if (request.BeforeTimeUnixMs is not null && request.BeforeOffset is not null)
        {
            throw Refusal.InvalidArgument(
                "before_offset and before_time_unix_ms are both set. Nothing was purged; set one of them, or none to "
                + "remove all records.");
        }
    }

    private async Task<PurgeTopicResponse> PurgePartitionAsync(
        GroupId home,
        TopicView topic,
        int partition,
        PurgeTopicRequest request,
        bool isForwarded,
        CancellationToken cancellationToken)
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
            return await PurgeBeforeTimeAsync(group, name, time, alone, isForwarded, cancellationToken);
        }

        var command = new ArrayBufferWriter<byte>();
        TopicCommands.WritePurgeTopic(command, name, request.BeforeOffset ?? -1);
        return await forwarder.ChangeAsync(
            group,
            () => Task.FromResult(command.WrittenMemory),
            static (client, message, options) => client.PurgeTopicAsync(message, options),
            alone,
            result => result.Code switch
            {
                RefusalCode.None => new PurgeTopicResponse { FirstOffsets = { result.BaseOffset } },
                RefusalCode.NotFound => throw TopicFinder.NoSuch(name),
                _ => throw Refusal.OutOfRange(
                    $"Offset {request.BeforeOffset} of topic '{name}' is beyond its end; its next offset is "
                    + $"{result.BaseOffset}. Nothing was purged."),
            },
            isForwarded,
            cancellationToken);
    }

    /// <summary>
    /// The leader says which offset that is, when it has applied all that was acknowledged. What it proposes names the
    /// topic's number and the version of its settings: a topic that was made again meanwhile is not touched.
    /// </summary>
    private async Task<PurgeTopicResponse> PurgeBeforeTimeAsync(
        GroupId group,
        string name,
        long beforeUnixMs,
        PurgeTopicRequest alone,
        bool isForwarded,
        CancellationToken cancellationToken)
    {
        for (var tries = 1; ; tries++)
        {
            var wanted = 0L;
            var response = await forwarder.ChangeAsync(
                group,
                async () =>
                {
                    await node.Group(group).ReadIndexAsync(cancellationToken);
                    var topics = node.TopicsOf(group);
                    var topic = topics.TryGetTopic(name, out var found) ? found : throw TopicFinder.NoSuch(name);
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
                isForwarded,
                cancellationToken);
            if (response.FirstOffsets[0] >= wanted)
            {
                return response;
            }

            if (tries == PurgeTries)
            {
                throw Refusal.FailedPrecondition(
                    $"Topic '{name}' is changed all the time, or made anew. Nothing was purged; retry.");
            }
        }
    }

    private async Task<List<DelayedRow>> FindDelayedAsync(
        GroupId home, TopicView topic, int partition, long fromOffset, int most, CancellationToken cancellationToken)
    {
        var (group, name) = finder.PlaceOf(home, topic, partition);
        var machine = node.TopicsOf(group);
        if (group != home)
        {
            await finder.CatchUpAsync([group], cancellationToken);
        }

        return await node.Group(group).AskAsync(() => machine.TryGetTopic(name, out var view)
            ? machine.Module<TopicModule>().Delays.List(view.Number, fromOffset, most)
            : []);
    }
}
