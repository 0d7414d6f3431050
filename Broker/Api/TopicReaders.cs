using System.Runtime.CompilerServices;
using Broker.Client;
using Broker.Cluster;
using Broker.Delivery;
using Broker.Domain;
using Broker.Protocol.Wire;
using Broker.Topics;

namespace Broker.Api;

/// <summary>Brings a read request to the reader of its topic's shard.</summary>
internal sealed class TopicReaders(BrokerNode node, TailSignal tail, ReadCatchUp catchUp)
{
    private readonly Dictionary<GroupId, TopicReader> _readers = node.DataShards.ToDictionary(
        shard => shard.Group,
        shard => new TopicReader(shard.Machine, tail, node.Group(shard.Group).ReadEntries)
        {
            LostThrough = index => node.LostThrough(shard.Group, index),
        });

    public async IAsyncEnumerable<ReadPage> ReadAsync(
        ReadRequest request, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        if (!TopicName.Validate(request.Topic, out var reason))
        {
            throw Refusal.InvalidArgument(reason);
        }

        UnimplementedFields.Refuse(request);
        var group = node.Shards.GroupOf(request.Topic);
        var start = StartOf(request, node.TopicsOf(group));
        if (!request.Follow && start >= 0 && !(request.HasPosition && request.Position == StartPosition.End))
        {
            await catchUp.WaitAsync(group, request.Topic, start, cancellationToken);
        }

        long records = 0;
        await foreach (var page in _readers[group].ReadAsync(request.Topic, start, request.Follow, cancellationToken))
        {
            yield return page;

            // Records before the start, and offsets whose records are purged, do not count.
            records += page.NextOffset - Math.Max(start, page.Batches[0].BaseOffset);
            start = page.NextOffset;
            if (request.MaxRecords > 0 && records >= request.MaxRecords)
            {
                yield break;
            }
        }
    }

    private static long StartOf(ReadRequest request, TopicStateMachine topics) => request.StartCase switch
    {
        ReadRequest.StartOneofCase.Offset => request.Offset,
        ReadRequest.StartOneofCase.Position => OffsetOf(request, topics),
        _ => 0,
    };

    private static long OffsetOf(ReadRequest request, TopicStateMachine topics) => request.Position switch
    {
        StartPosition.Unspecified or StartPosition.Beginning => 0,
        StartPosition.End => topics.TryGetTopic(request.Topic, out var topic) ? topic.NextOffset : 0,
        _ => throw Refusal.InvalidArgument($"Start position {(int)request.Position} does not exist."),
    };
}
