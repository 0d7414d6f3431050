using System.Runtime.CompilerServices;
using Broker.Client;
using Broker.Cluster;
using Broker.Delivery;
using Broker.Domain;
using Broker.Protocol.Wire;
using Broker.Topics;

namespace Broker.Api;

/// <summary>Brings a read request to the reader of its topic's shard.</summary>
internal sealed class TopicReaders(BrokerNode node, TailSignal tail)
{
    private readonly Dictionary<GroupId, TopicReader> _readers = node.DataShards.ToDictionary(
        shard => shard.Group,
        shard => new TopicReader(shard.Machine, tail, node.Group(shard.Group).ReadEntries));

    public async IAsyncEnumerable<ReadPage> ReadAsync(
        ReadRequest request, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        if (!TopicName.Validate(request.Topic, out var reason))
        {
            throw Refusal.InvalidArgument(reason);
        }

        var group = node.Shards.GroupOf(request.Topic);
        var start = StartOf(request, node.TopicsOf(group));
        await foreach (var page in _readers[group].ReadAsync(request.Topic, start, request.Follow, cancellationToken))
        {
            yield return page;
            if (request.MaxRecords > 0 && page.NextOffset - start >= request.MaxRecords)
            {
                yield break;
            }
        }
    }

    private static long StartOf(ReadRequest request, TopicStateMachine topics)
    {
        switch (request.StartCase)
        {
            case ReadRequest.StartOneofCase.Offset:
                return request.Offset;
            case ReadRequest.StartOneofCase.Position when request.Position == StartPosition.End:
                return topics.TryGetTopic(request.Topic, out var topic) ? topic.NextOffset : 0;
            default:
                return 0;
        }
    }
}
