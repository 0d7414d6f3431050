using System.Globalization;
using Broker.Domain;

namespace Broker.Topics;

/// <summary>
/// Under which name a partition stands in its shard: partition 3 of "orders" is "orders #3", the first has the topic's
/// own name. No topic of a user's can be called so, for names have no spaces. So whatever is kept by a topic's name or
/// number (offsets, producers, retention, the index) is kept of each partition.
/// </summary>
internal static class PartitionName
{
    /// <summary>The longest name of a topic that has several partitions: " #999" must fit behind it.</summary>
    public const int MostTopicBytes = Limits.TopicNameBytes - 5;

    private const string Mark = " #";

    public static string Of(string topic, int partition) => partition == 0
        ? topic
        : string.Create(CultureInfo.InvariantCulture, $"{topic}{Mark}{partition}");

    /// <summary>Whether it is the name of a partition other than the first.</summary>
    public static bool IsOne(string name) => name.Contains(Mark, StringComparison.Ordinal);

    public static (string Topic, int Partition) Parse(string name)
    {
        var mark = name.LastIndexOf(Mark, StringComparison.Ordinal);
        return mark < 0
            ? (name, 0)
            : (name[..mark], int.Parse(name.AsSpan(mark + Mark.Length), CultureInfo.InvariantCulture));
    }
}
