using System.Buffers;
using System.Text;
using Broker.Cluster;
using Broker.Domain;
using Broker.Topics;

namespace Broker.Api;

/// <summary>
/// What a topic that is to be made has: what the request sets, then what the template for its name sets, then the
/// defaults. On the node that leads its shard, whose copy of the templates is brought up to date first.
/// </summary>
internal sealed class TopicMaker(BrokerNode node)
{
    /// <summary>How topics come to be, as everybody was told who has changed it until now.</summary>
    /// <exception cref="BrokerException">See <see cref="ReadIndexes"/>.</exception>
    public async Task<TopicPolicies> LatestPoliciesAsync(CancellationToken cancellationToken)
    {
        await node.CatchUpAsync(GroupId.Metadata, cancellationToken);
        return node.TopicPolicies;
    }

    /// <param name="policies">Has the template, if there is one.</param>
    /// <param name="name">The topic's name.</param>
    /// <param name="parts">Which settings the request sets.</param>
    /// <param name="settings">The settings.</param>
    /// <param name="partitions">Null: the request does not say.</param>
    /// <exception cref="BrokerException">
    /// InvalidArgument: the name is too long for several partitions. ResourceExhausted: there is no room for them.
    /// </exception>
    public TopicPlan Plan(
        TopicPolicies policies,
        string name,
        TopicSettingParts parts = TopicSettingParts.None,
        TopicSettings? settings = null,
        int? partitions = null)
    {
        policies.TryMatch(name, out var template);
        var underneath = template?.Settings.Over(TopicSettings.Default, template.Parts) ?? TopicSettings.Default;
        var plan = new TopicPlan(
            settings?.Over(underneath, parts) ?? underneath,
            partitions ?? (template is { Partitions: > 0 } ? template.Partitions : 1),
            new ArrayBufferWriter<byte>());
        if (plan.Settings.Contradiction is { } contradiction)
        {
            throw Refusal.InvalidArgument($"Of what the request and the topic's template say together {contradiction}");
        }

        Check(name, plan.Partitions);
        PartitionCommands.WriteCreateAny(plan.Command, name, plan.Partitions, plan.Settings);
        return plan;
    }

    private void Check(string name, int partitions)
    {
        if (partitions == 1)
        {
            return;
        }

        if (Encoding.UTF8.GetByteCount(name) > PartitionName.MostTopicBytes)
        {
            throw Refusal.InvalidArgument(
                $"The topic's name has {Encoding.UTF8.GetByteCount(name)} bytes; that of a topic of several partitions "
                + $"({partitions} are asked for, or its template has so many) has at most "
                + $"{PartitionName.MostTopicBytes}.");
        }

        // What every shard has room for by what this node knows; who comes first at the limit gets it.
        var forEach = (partitions / node.Shards.DataShards) + 1;
        if (node.DataShards.Any(shard => shard.Machine.TopicCount + forEach > Limits.Topics))
        {
            throw Refusal.TooManyTopics(name);
        }
    }
}

/// <param name="Settings">All of them.</param>
/// <param name="Partitions">At least one.</param>
/// <param name="Command">Makes it.</param>
internal sealed record TopicPlan(TopicSettings Settings, int Partitions, ArrayBufferWriter<byte> Command);
