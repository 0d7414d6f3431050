using Broker.Cluster;
using Broker.Domain;

namespace Broker.Api;

/// <summary>Makes the topics that dead letters go to, one partition in each data shard.</summary>
internal sealed class DeadLetterTopics(BrokerNode node, TopicMaker maker)
{
    /// <exception cref="BrokerException">NotLeader, NoLeader: it could not be made now.</exception>
    public async Task MakeAsync(string topic, CancellationToken cancellationToken)
    {
        var plan = maker.Plan(node.TopicPolicies, topic, partitions: node.Shards.DataShards);
        await node.ProposeAsync(node.Shards.GroupOf(topic), plan.Command.WrittenMemory, cancellationToken);
    }
}
