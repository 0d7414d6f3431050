namespace Broker.Client;

/// <summary>A topic, as the asked node has applied it: it may lag the leader by a network hop.</summary>
/// <param name="Name">The topic's name.</param>
/// <param name="Shard">The shard that holds it.</param>
/// <param name="FirstOffset">The first offset that can be read.</param>
/// <param name="NextOffset">The offset that the next committed record will get.</param>
/// <param name="Id">Names the topic for good: one that is made under the name of a deleted one has another.</param>
public sealed record TopicInfo(string Name, int Shard, long FirstOffset, long NextOffset, ulong Id = 0)
{
    /// <summary>
    /// The offsets of each partition of a topic that has several; those of the topic are their sums. Empty: it has one.
    /// </summary>
    public IReadOnlyList<PartitionInfo> Partitions { get; init; } = [];
}

/// <summary>One partition of a topic.</summary>
/// <param name="FirstOffset">The first offset that can be read.</param>
/// <param name="NextOffset">The offset that the next committed record will get.</param>
public sealed record PartitionInfo(long FirstOffset, long NextOffset);

/// <summary>A part of a list of topics.</summary>
/// <param name="Topics">The topics of this page, ordered by name.</param>
/// <param name="NextPageToken">Where to go on; empty after the last page.</param>
public sealed record TopicPage(IReadOnlyList<TopicInfo> Topics, string NextPageToken);
