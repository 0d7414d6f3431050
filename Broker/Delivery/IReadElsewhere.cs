using Broker.Domain;
using Broker.Topics;

namespace Broker.Delivery;

/// <summary>Records that this node's replica of a shard cannot give, from a node that has them.</summary>
public interface IReadElsewhere
{
    /// <summary>
    /// The next page from an offset on; null: no other node can give one now.
    /// </summary>
    /// <param name="shard">Where they are.</param>
    /// <param name="topic">The topic's id.</param>
    /// <param name="name">Under which name it, or its partition, stands in the shard.</param>
    /// <param name="offset">The first offset that is wanted.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="BrokerException">What the other node says of the topic or the offset.</exception>
    ValueTask<ReadPage?> ReadPageAsync(
        GroupId shard, TopicId topic, string name, long offset, CancellationToken cancellationToken);
}
