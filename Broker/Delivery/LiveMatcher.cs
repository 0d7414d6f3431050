using System.Collections.Concurrent;
using Broker.Client;
using Broker.ClusterState;
using Broker.Domain;

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

    // Topic to channel, or to null when nobody wants it. Bounded as the topics are: only applied batches ask.
    private readonly ConcurrentDictionary<string, string?> _channels = new(StringComparer.Ordinal);

    public LiveMatcher(IEnumerable<LiveSubscription> subscriptions)
    {
        // The state machine has refused what does not parse.
        _filters = new TopicFilterSet(subscriptions.SelectMany(each => each.Filters).Select(TopicFilter.Parse));
    }

    public bool IsEmpty => _filters.IsEmpty;

    /// <summary>The channel on which batches of the topic are wanted, or null.</summary>
    public string? ChannelOf(string topic)
    {
        if (IsEmpty)
        {
            return null;
        }

        if (!_channels.TryGetValue(topic, out var channel))
        {
            Invariant.Check(topic.Length <= Limits.TopicNameBytes, "a stored topic's name is within its limit");
            channel = _filters.Matches(topic) ? ChannelPrefix + topic : null;
            _channels[topic] = channel;
        }

        return channel;
    }
}
