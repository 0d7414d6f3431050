using Broker.Consensus;

namespace Broker.Replication;

internal static partial class ReplicationLog
{
    [LoggerMessage(1101, LogLevel.Information, "Group {Group} is {Role} in term {Term}; leader {Leader}")]
    public static partial void StateChanged(ILogger logger, int group, RaftRole role, long term, int leader);

    [LoggerMessage(
        1102, LogLevel.Warning, "Group {Group} dropped a damaged or unknown message of kind {Kind} from node {From}")]
    public static partial void MessageDropped(ILogger logger, int group, uint kind, uint from);

    [LoggerMessage(
        1103, LogLevel.Warning, "Group {Group} cannot read entry {Index} to send it; it will be tried again")]
    public static partial void EntryUnavailable(ILogger logger, int group, long index);

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
        "The disk is full: publishes wait, and are refused beyond their limits; reads go on. {Reason}")]
    public static partial void DiskFull(ILogger logger, string reason, Exception exception);
}
