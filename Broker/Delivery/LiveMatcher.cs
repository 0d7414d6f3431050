using System.Collections.Concurrent;
using Broker.Client;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Topics;

namespace Broker.Delivery;

/// <summary>
/// Which topics some live subscription wants, and on which Redis channel. The answer is kept per topic; a change of the
/// subscriptions makes a new matcher, so no answer is ever stale.
/// </summary>
internal sealed class LiveMatcher
{
    public static readonly LiveMatcher None = new([]);

    private const string ChannelPrefix = "broker:";

    private readonly TopicFilterSet _filters;

    // By the name that a topic or a partition has in its shard; null when nobody wants it. Bounded as the topics are:
    // only applied batches ask.
    private readonly ConcurrentDictionary<string, LiveChannel?> _channels = new(StringComparer.Ordinal);

    public LiveMatcher(IEnumerable<LiveSubscription> subscriptions)
    {
        // The state machine has refused what does not parse.
        _filters = new TopicFilterSet(subscriptions.SelectMany(each => each.Filters).Select(TopicFilter.Parse));
    }

    public bool IsEmpty => _filters.IsEmpty;

    /// <summary>
    /// The channel on which batches of a topic, or of a partition by its name in the shard, are wanted, or null.
    /// </summary>
    public LiveChannel? ChannelOf(string name)
    {
        if (IsEmpty)
        {
            return null;
        }

        if (!_channels.TryGetValue(name, out var channel))
        {
            Invariant.Check(name.Length <= Limits.TopicNameBytes, "a stored topic's name is within its limit");
            var (topic, partition) = PartitionName.Parse(name);
            channel = _filters.Matches(topic) ? new LiveChannel(ChannelPrefix + topic, topic, partition) : null;
            _channels[name] = channel;
        }

        return channel;
    }
}

/// <summary>Where a partition's batches go.</summary>
/// <param name="Name">The channel of Redis, one for all partitions of a topic.</param>
/// <param name="Topic">The topic.</param>
/// <param name="Partition">From 0.</param>
internal sealed record LiveChannel(string Name, string Topic, int Partition);
