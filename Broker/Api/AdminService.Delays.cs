using System.Buffers;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Topics;
using Grpc.Core;

namespace Broker.Api;

/// <summary>Delayed records: what is to come, and what is not to come after all.</summary>
internal sealed partial class AdminService
{
    public override async Task<ListDelayedResponse> ListDelayed(ListDelayedRequest request, ServerCallContext context)
    {
        CheckTopic(request.Topic, toPublish: false);
        var (from, offset) = ReadToken(request.PageToken);
        var size = PageSize(request.PageSize, Limits.DefaultDelayedPerPage, Limits.DelayedPerPage);
        var home = node.Shards.GroupOf(request.Topic);
        await CatchUpAsync([home], context);
        var topic = await FindTopicAsync(home, request.Topic, context);
        if (request.Partition is { } only && only >= topic.Partitions)
        {
            throw StatusMap.ToRpcException(Refusal.NoSuchPartition(request.Topic, only, topic.Partitions));
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
            foreach (var row in await FindDelayedAsync(home, topic, partition, offset, room, context))
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

    public override async Task<CancelDelayedResponse> CancelDelayed(
        CancelDelayedRequest request, ServerCallContext context)
    {
        CheckTopic(request.Topic, toPublish: false);
        if (request.Offsets.Count is 0 or > Limits.DelayedPerPage || request.Offsets.Any(static each => each < 0))
        {
            throw StatusMap.ToRpcException(Refusal.InvalidArgument(
                $"A request names 1 to {Limits.DelayedPerPage:N0} offsets, none of them negative; this one names "
                + $"{request.Offsets.Count:N0}. Take them from ListDelayed, or from the answer to the publish."));
        }

        var home = node.Shards.GroupOf(request.Topic);
        var topic = await FindTopicAsync(home, request.Topic, context);
        if (request.Partition >= topic.Partitions)
        {
            throw StatusMap.ToRpcException(
                Refusal.NoSuchPartition(request.Topic, request.Partition, topic.Partitions));
        }

        var (group, name) = PlaceOf(home, topic, (int)request.Partition);
        return await ChangeAsync(
            group,
            async () =>
            {
                // The leader knows which topic has the name when it has applied all that was acknowledged.
                await node.Group(group).ReadIndexAsync(context.CancellationToken);
                var command = new ArrayBufferWriter<byte>();
                var topics = node.TopicsOf(group);
                var view = topics.TryGetTopic(name, out var found) ? found : throw NoSuchTopic(name);
                DelayCommands.WriteCancel(command, view.Number, request.Offsets);
                return command.WrittenMemory;
            },
            static (client, message, options) => client.CancelDelayedAsync(message, options),
            request,
            static result => new CancelDelayedResponse { Count = (uint)result.Count },
            context);
    }

    /// <summary>Where a partition is, and under which name.</summary>
    private (GroupId Group, string Name) PlaceOf(GroupId home, in TopicView topic, int partition) =>
        topic.Partitions > 1
            ? (node.Shards.GroupOf(home, partition), topic.PartitionNameOf(partition))
            : (home, topic.Name);

    private async Task<List<DelayedRow>> FindDelayedAsync(
        GroupId home, TopicView topic, int partition, long fromOffset, int most, ServerCallContext context)
    {
        var (group, name) = PlaceOf(home, topic, partition);
        var machine = node.TopicsOf(group);
        if (group != home)
        {
            await CatchUpAsync([group], context);
        }

        return await node.Group(group).AskAsync(() => machine.TryGetTopic(name, out var view)
            ? machine.Module<TopicModule>().Delays.List(view.Number, fromOffset, most)
            : []);
    }

    private static (int Partition, long Offset) ReadToken(string token)
    {
        try
        {
            return PageTokens.Read(token);
        }
        catch (BrokerException refusal)
        {
            throw StatusMap.ToRpcException(refusal);
        }
    }
}
