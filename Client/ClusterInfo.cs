namespace Broker.Client;

/// <summary>The cluster, as one of its nodes sees it.</summary>
/// <param name="ClusterId">32 hexadecimal digits, chosen once when the cluster forms. Empty: not formed yet.</param>
/// <param name="ThisNode">The number of the node that answered.</param>
/// <param name="Nodes">All nodes that it knows.</param>
/// <param name="Shards">All shards: 0 holds the metadata, those of topics follow.</param>
public sealed record ClusterInfo(
    string ClusterId, int ThisNode, IReadOnlyList<NodeInfo> Nodes, IReadOnlyList<ShardInfo> Shards)
{
    /// <summary>How many data nodes vote in each shard for topics. 0: all.</summary>
    public int ShardVoters { get; init; }

    /// <summary>Only those keep a shard's records; the others keep its state.</summary>
    public bool OnlyVotersKeepRecords { get; init; }
}
