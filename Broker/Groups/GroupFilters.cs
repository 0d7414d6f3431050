using Broker.Client;
using Broker.Topics;

namespace Broker.Groups;

/// <summary>
/// Which topics a group follows. The broker's own topics, which begin with '$', only where a filter names the '$': else
/// a group that follows everything would be delivered its own dead letters.
/// </summary>
internal sealed class GroupFilters(IEnumerable<string> filters)
{
    private readonly TopicFilter[] _filters = [.. filters.Select(TopicFilter.Parse)];

    /// <param name="place">
    /// The name under which a topic, or a partition of one, stands in its shard. What is due of a topic is followed
    /// with it.
    /// </param>
    public bool Matches(string place)
    {
        var (topic, _) = PartitionName.Parse(DueTopic.TargetOf(place));
        foreach (var filter in _filters)
        {
            if (filter.Matches(topic) && (topic[0] != '$' || filter.ToString()[0] == '$'))
            {
                return true;
            }
        }

        return false;
    }
}
