using Broker.ClusterState;
using Broker.Domain;

namespace Broker.Cluster;

internal static partial class ClusterEvents
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

    [LoggerMessage(7006, LogLevel.Warning, "This node takes no part yet. {Obstacle}")]
    public static partial void Waiting(ILogger logger, string obstacle);

    [LoggerMessage(7007, LogLevel.Warning, "A new cluster begins: all its {Count} nodes are here, with empty disks")]
    public static partial void Founding(ILogger logger, int count);

    [LoggerMessage(
        7008,
        LogLevel.Warning,
        "This node has an empty disk and joins cluster {ClusterId}, as one that has lost its log and its votes")]
    public static partial void Joining(ILogger logger, Guid clusterId);

    [LoggerMessage(
        7009,
        LogLevel.Warning,
        "By its operator's word node {Node} ({Name}) has the disk {StoreId} now; the one before, {Retired}, is refused "
        + "from here on")]
    public static partial void DiskReplaced(ILogger logger, int node, string name, Guid storeId, Guid retired);

    [LoggerMessage(
        7010, LogLevel.Error, "The disk does not answer: the logs are left open, and recovered at the next start")]
    public static partial void DiskHangs(ILogger logger);

    [LoggerMessage(
        7034,
        LogLevel.Warning,
        "The disk of {Folder} has {FreeBytes} bytes left: below {ReserveBytes} (Broker:DiskReserveBytes) this node "
        + "takes no publishes. Shorten what topics keep, delete topics, or enlarge the disk")]
    public static partial void DiskSoonShort(ILogger logger, string folder, long freeBytes, long reserveBytes);

    [LoggerMessage(
        7035,
        LogLevel.Error,
        "The disk of {Folder} has {FreeBytes} bytes left, less than {ReserveBytes} (Broker:DiskReserveBytes): this "
        + "node takes no publishes, and leaves the lead to nodes that have space. Reading goes on. Shorten what topics "
        + "keep, delete topics, or enlarge the disk")]
    public static partial void DiskShort(ILogger logger, string folder, long freeBytes, long reserveBytes);

    [LoggerMessage(
        7036, LogLevel.Information, "The disk of {Folder} has {FreeBytes} bytes again: this node takes publishes")]
    public static partial void DiskHasSpace(ILogger logger, string folder, long freeBytes);

    [LoggerMessage(7011, LogLevel.Error, "The node's {Task} failed and is begun again in {Delay}: {Reason}")]
    public static partial void TaskFailed(
        ILogger logger, string task, string reason, TimeSpan delay, Exception exception);

    [LoggerMessage(7030, LogLevel.Critical, "{What}")]
    public static partial void QuorumLost(ILogger logger, string what);

    [LoggerMessage(7031, LogLevel.Information, "Group {Group} can elect a leader again")]
    public static partial void QuorumRegained(ILogger logger, int group);

    [LoggerMessage(7032, LogLevel.Debug, "Node {Node} does not say what its replicas have: {Reason}")]
    public static partial void NotDescribed(ILogger logger, int node, string reason);

    [LoggerMessage(7033, LogLevel.Warning, "Audit: {Record}")]
    public static partial void RecoveryForced(ILogger logger, string record);

    [LoggerMessage(7012, LogLevel.Information, "Node {Node} ({Name}, {Address}) joins the cluster")]
    public static partial void MemberJoining(ILogger logger, int node, string name, string address);

    [LoggerMessage(7013, LogLevel.Information, "Node {Node} ({Name}) leaves the cluster")]
    public static partial void MemberLeaving(ILogger logger, int node, string name);

    [LoggerMessage(7014, LogLevel.Information, "Node {Node} ({Name}) has settled: {State}")]
    public static partial void MemberSettled(ILogger logger, int node, string name, MemberState state);

    [LoggerMessage(
        7024,
        LogLevel.Warning,
        "Node {Node} ({Name}) has been silent for longer than {EvictAfter} and is evicted: it votes in no shard until "
        + "it is back")]
    public static partial void MemberEvicting(ILogger logger, int node, string name, TimeSpan? evictAfter);

    [LoggerMessage(7025, LogLevel.Information, "Node {Node} ({Name}), which was evicted, is back and joins again")]
    public static partial void MemberReturning(ILogger logger, int node, string name);

    [LoggerMessage(7026, LogLevel.Information, "Node {Node} ({Name}) drains: it is to lead nothing")]
    public static partial void MemberDraining(ILogger logger, int node, string name);

    [LoggerMessage(7027, LogLevel.Information, "Node {Node} ({Name}) may lead again")]
    public static partial void MemberUndrained(ILogger logger, int node, string name);

    [LoggerMessage(7015, LogLevel.Information, "A change of members waits: {Reason}")]
    public static partial void MembershipWaits(ILogger logger, string reason);

    [LoggerMessage(7016, LogLevel.Warning, "No word from the cluster at {Address}: {Reason}")]
    public static partial void NotAnnounced(ILogger logger, Uri address, string reason);

    [LoggerMessage(7017, LogLevel.Critical, "This node serves nothing any more. {Reason}")]
    public static partial void Removed(ILogger logger, string reason);

    [LoggerMessage(7018, LogLevel.Warning, "This node waits to be taken in. {Obstacle}")]
    public static partial void WaitsToJoin(ILogger logger, string obstacle);

    [LoggerMessage(7019, LogLevel.Information, "The cluster {ClusterId} has taken this node in as node {Node}")]
    public static partial void TakenIn(ILogger logger, string clusterId, int node);

    [LoggerMessage(
        7020, LogLevel.Warning, "Group {Group}: the damaged segment {First} to {Last} is mended from node {Node}")]
    public static partial void SegmentMended(ILogger logger, int group, LogIndex first, LogIndex last, int node);

    [LoggerMessage(
        7021, LogLevel.Warning, "Group {Group}: node {Node} does not give the segment {First} to {Last}: {Reason}")]
    public static partial void SegmentNotFetched(
        ILogger logger, int group, LogIndex first, LogIndex last, int node, string reason);

    [LoggerMessage(
        7023,
        LogLevel.Critical,
        "Group {Group}: no replica can read the segment {First} to {Last}, which is damaged on all of them. Readers "
        + "are told where to go on behind it. To get it back, stop one node, put the file {File} of a backup into its "
        + "group's folder, and start it: the others take it from there. To give it up, purge its topics through it")]
    public static partial void SegmentLost(ILogger logger, int group, LogIndex first, LogIndex last, string file);

    [LoggerMessage(
        7022, LogLevel.Error, "Group {Group}: the damaged segment {First} to {Last} cannot be replaced: {Reason}")]
    public static partial void SegmentNotReplaced(
        ILogger logger, int group, LogIndex first, LogIndex last, string reason);

    [LoggerMessage(7090, LogLevel.Information, "Shard {Shard} is to be voted in by {Voters}")]
    public static partial void ShardPlaced(ILogger logger, int shard, string voters);
}
