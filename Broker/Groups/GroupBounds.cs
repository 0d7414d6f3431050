using Broker.Domain;

namespace Broker.Groups;

/// <summary>What the progress of groups may come to in one shard. Every replica of a shard has the same.</summary>
internal sealed record GroupBounds
{
    /// <summary>Groups.</summary>
    public int Groups { get; init; } = Limits.GroupsPerShard;

    /// <summary>Settled ranges above the floor of one group in one topic.</summary>
    public int RangesPerTopic { get; init; } = Limits.GroupRangesPerTopic;

    /// <summary>Ranges and counts, over all groups.</summary>
    public int Size { get; init; } = Limits.GroupProgressPerShard;
}
