using Broker.Cluster;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Topics;

namespace Broker.Api;

/// <summary>
/// Makes the topic of a group's dead letters when its first record dies: it has a partition in every data shard, so
/// that each buries into its own.
/// </summary>
internal sealed class DeadLetterTopics(BrokerNode node, TopicMaker maker, AdminForwarder forwarder)
{
    /// <summary>Again succeeds.</summary>
    /// <param name="topic">Its name.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="BrokerException">It is not made now.</exception>
    /// <exception cref="Grpc.Core.RpcException">The same, by the word of another node.</exception>
    public Task MakeAsync(string topic, CancellationToken cancellationToken)
    {
        var partitions = node.Shards.DataShards;
        var request = new CreateTopicRequest
        {
            Name = topic,
            Config = new TopicConfig { Partitions = (uint)partitions },
        };
        return forwarder.ChangeAsync(
            node.Shards.GroupOf(topic),
            () => Task.FromResult<ReadOnlyMemory<byte>>(
                maker.Plan(TopicPolicies.Default, topic, partitions: partitions).Command.WrittenMemory),
            static (client, message, options) => client.CreateTopicAsync(message, options),
            request,
            result => result.Code is RefusalCode.None or RefusalCode.AlreadyExists
                ? new CreateTopicResponse()
                : throw Refusal.TooManyTopics(topic),
            isForwarded: false,
            cancellationToken);
    }
}
