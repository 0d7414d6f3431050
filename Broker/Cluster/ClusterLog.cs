namespace Broker.Cluster;

internal static partial class ClusterLog
{
    [LoggerMessage(
        7001, LogLevel.Information, "{Name} (node {Node} of {Count}) keeps its logs in {Folder}; {Shards} data shards")]
    public static partial void Starting(ILogger logger, string name, int node, int count, string folder, int shards);

    [LoggerMessage(7002, LogLevel.Information, "Group {Group} recovered {Entries} entries, last term {Term}")]
    public static partial void Recovered(ILogger logger, int group, long entries, long term);

    [LoggerMessage(7003, LogLevel.Information, "This node belongs to cluster {ClusterId}")]
    public static partial void Joined(ILogger logger, Guid clusterId);

    [LoggerMessage(7004, LogLevel.Information, "Group {Group}: leadership goes to node {Node}, where it belongs")]
    public static partial void Balancing(ILogger logger, int group, int node);

    [LoggerMessage(
        7005, LogLevel.Warning, "A change of the cluster's metadata was refused and is tried again: {Reason}")]
    public static partial void MetadataRefused(ILogger logger, string reason);
}
