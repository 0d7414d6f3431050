using Broker.Consensus;

namespace Broker.Replication;

/// <summary>What this room tells the node's log: event ids 1101 to 1199.</summary>
internal static partial class ReplicationEvents
{
    [LoggerMessage(1101, LogLevel.Information, "Group {Group} is {Role} in term {Term}; leader {Leader}")]
    public static partial void StateChanged(ILogger logger, int group, RaftRole role, long term, int leader);

    [LoggerMessage(
        1102, LogLevel.Warning, "Group {Group} dropped a damaged or unknown message of kind {Kind} from node {From}")]
    public static partial void MessageDropped(ILogger logger, int group, uint kind, uint from);

    [LoggerMessage(
        1103, LogLevel.Warning, "Group {Group} cannot read entry {Index} now, and will try again: {Reason}")]
    public static partial void EntryUnavailable(ILogger logger, int group, long index, string reason);

    [LoggerMessage(
        1104,
        LogLevel.Critical,
        "The replication loop stops: {Reason}. The process ends: nothing false is acknowledged")]
    public static partial void LoopFailed(ILogger logger, string reason, Exception exception);

    [LoggerMessage(
        1105, LogLevel.Critical, "The log writer stops: {Reason}. The process ends: nothing false is acknowledged")]
    public static partial void WriterFailed(ILogger logger, string reason, Exception exception);

    [LoggerMessage(
        1106,
        LogLevel.Error,
        "Group {Group} finds the disk full, and tries again every second; reads go on, another node leads if it can "
        + "write. {Reason}")]
    public static partial void DiskFull(ILogger logger, int group, string reason);

    [LoggerMessage(1107, LogLevel.Critical, "The background thread stops: {Reason}. The process ends")]
    public static partial void BackgroundFailed(ILogger logger, string reason, Exception exception);

    [LoggerMessage(
        1108, LogLevel.Debug, "Group {Group} has too much to read for node {Node}; a message is left to be sent again")]
    public static partial void LaneFull(ILogger logger, int group, int node);

    [LoggerMessage(
        1109, LogLevel.Information, "Group {Group} begins with the snapshot at {Index}; {Entries} entries follow it")]
    public static partial void Restored(ILogger logger, int group, long index, long entries);

    [LoggerMessage(
        1110, LogLevel.Warning, "Group {Group} cannot use its snapshot at {Index}, and takes an older one: {Reason}")]
    public static partial void SnapshotUnusable(ILogger logger, int group, long index, string reason);

    [LoggerMessage(1111, LogLevel.Information, "Group {Group} wrote a snapshot at {Index}, {SizeBytes} bytes")]
    public static partial void SnapshotWritten(ILogger logger, int group, long index, int sizeBytes);

    [LoggerMessage(
        1112,
        LogLevel.Warning,
        "Group {Group} could not write a snapshot at {Index}, and will try at the next sealed segment: {Reason}")]
    public static partial void SnapshotNotWritten(ILogger logger, int group, long index, string reason);

    [LoggerMessage(
        1113,
        LogLevel.Warning,
        "Group {Group} has no index file for the segment {First}..{Last} yet: {Reason}")]
    public static partial void IndexNotUsed(ILogger logger, int group, long first, long last, string reason);

    [LoggerMessage(1114, LogLevel.Information, "Group {Group} dropped its log through {Index}: nobody needs it")]
    public static partial void Dropped(ILogger logger, int group, long index);

    [LoggerMessage(
        1115,
        LogLevel.Information,
        "Group {Group} replaces its log by the leader's snapshot at {Index}, {SizeBytes} bytes")]
    public static partial void Installing(ILogger logger, int group, long index, int sizeBytes);

    [LoggerMessage(1116, LogLevel.Information, "Group {Group} goes on from the leader's snapshot at {Index}")]
    public static partial void Installed(ILogger logger, int group, long index);

    [LoggerMessage(
        1117,
        LogLevel.Error,
        "Group {Group} cannot read the snapshot at its base {Index}, which node {Node} needs: {Reason}")]
    public static partial void SnapshotUnavailable(ILogger logger, int group, long index, int node, string reason);

    [LoggerMessage(1118, LogLevel.Information, "Group {Group}: {Change} node {Node}, by entry {Index}")]
    public static partial void Changing(
        ILogger logger, int group, MembershipChangeKind change, int node, long index);

    [LoggerMessage(1119, LogLevel.Information, "Group {Group} has the members {Members}")]
    public static partial void Members(ILogger logger, int group, string members);

    [LoggerMessage(
        1120,
        LogLevel.Warning,
        "Group {Group} here: fenced {IsFenced}, lost {IsLost}, passive {IsPassive}, {Damaged} damaged segments")]
    public static partial void ConditionChanged(
        ILogger logger, int group, bool isFenced, bool isLost, bool isPassive, int damaged);

    [LoggerMessage(1121, LogLevel.Warning, "Group {Group} hands leadership to node {Node}: {Reason}")]
    public static partial void HandingOver(ILogger logger, int group, int node, string reason);

    [LoggerMessage(
        1122, LogLevel.Warning, "Group {Group} makes the damaged index file of the segment {First}..{Last} anew")]
    public static partial void RebuildingIndex(ILogger logger, int group, long first, long last);

    [LoggerMessage(
        1123,
        LogLevel.Error,
        "Group {Group} cannot make the index file of the segment {First}..{Last} anew before the next start; until "
        + "then its messages are read from other replicas")]
    public static partial void IndexNotRebuilt(ILogger logger, int group, long first, long last);

    [LoggerMessage(
        1124,
        LogLevel.Error,
        "Group {Group} has lost the snapshot at its log's base and the index of the segment at {First}. It goes on "
        + "from a later snapshot; reads of that segment must go to another replica")]
    public static partial void RestoredWithoutIndex(ILogger logger, int group, long first);

    [LoggerMessage(
        1125,
        LogLevel.Warning,
        "Group {Group} keeps its log through {Index}: the snapshot there cannot be read. A later one will do")]
    public static partial void NotDropped(ILogger logger, int group, long index);

    [LoggerMessage(
        1126,
        LogLevel.Warning,
        "Group {Group} cannot read its log behind {Index}, and asks the leader for a snapshot of a later state")]
    public static partial void AskingForSnapshot(ILogger logger, int group, long index);

    [LoggerMessage(
        1128,
        LogLevel.Error,
        "Group {Group}: the disk has not done a write for {ElapsedMs} ms; another node leads if it can write")]
    public static partial void WriteStalled(ILogger logger, int group, long elapsedMs);

    [LoggerMessage(1129, LogLevel.Information, "Group {Group} writes again; the last write took {ElapsedMs} ms")]
    public static partial void WritesAgain(ILogger logger, int group, long elapsedMs);

    [LoggerMessage(
        1130,
        LogLevel.Warning,
        "Group {Group}: nothing beside the log has been read or written for {ElapsedMs} ms, although it should be")]
    public static partial void BackgroundStalled(ILogger logger, int group, long elapsedMs);

    [LoggerMessage(
        1131,
        LogLevel.Warning,
        "Group {Group} does not catch up: it holds what committed through {Index}, its leader had committed {Commit}")]
    public static partial void Behind(ILogger logger, int group, long index, long commit);

    [LoggerMessage(1132, LogLevel.Warning, "Group {Group} cannot apply entry {Index}: it cannot be read")]
    public static partial void ApplyBlocked(ILogger logger, int group, long index);

    [LoggerMessage(
        1133,
        LogLevel.Critical,
        "Group {Group} has gone on from another replica by an operator's word, without what is committed here. This "
        + "replica takes part in nothing any more; start this broker again, and it sets its files of the group aside "
        + "and fetches the group's log anew")]
    public static partial void Superseded(ILogger logger, int group);

    [LoggerMessage(
        1134,
        LogLevel.Warning,
        "Group {Group}: a recovery from this replica alone begins, in term {Term}, with entry {Index}; nodes {Others} "
        + "give up their votes")]
    public static partial void Recovering(ILogger logger, int group, long term, long index, string others);

    [LoggerMessage(
        1135,
        LogLevel.Information,
        "Group {Group} has taken what is gone out of the segment {First}..{Last}: {SizeBytes} bytes of {BeforeBytes}")]
    public static partial void SegmentThinned(
        ILogger logger, int group, long first, long last, long sizeBytes, long beforeBytes);

    [LoggerMessage(
        1136,
        LogLevel.Warning,
        "Group {Group} cannot take what is gone out of the segment {First}..{Last}, and tries again later: {Reason}")]
    public static partial void SegmentNotThinned(ILogger logger, int group, long first, long last, string reason);

    [LoggerMessage(
        1137,
        LogLevel.Information,
        "Group {Group} has given up what the entries {First}..{Last} say, as its voters keep it: {SizeBytes} bytes of "
        + "{BeforeBytes}")]
    public static partial void SegmentHollowed(
        ILogger logger, int group, long first, long last, long sizeBytes, long beforeBytes);

    [LoggerMessage(
        1138,
        LogLevel.Warning,
        "Group {Group} cannot give up what the entries {First}..{Last} say, and tries again later: {Reason}")]
    public static partial void SegmentNotHollowed(ILogger logger, int group, long first, long last, string reason);

    [LoggerMessage(
        1127,
        LogLevel.Warning,
        "Group {Group} goes over to the leader's state at {Index}, {SizeBytes} bytes: entries before it are gone")]
    public static partial void Adopting(ILogger logger, int group, long index, int sizeBytes);
}
