using Broker.Domain;

namespace Broker.Storage;

/// <summary>What storage tells its operator. Event ids 2xxx.</summary>
internal static partial class StorageLog
{
    [LoggerMessage(
        2001,
        LogLevel.Warning,
        "Group {Group}: {Path} ends in a write that was never acknowledged; "
        + "cut at byte {Offset}, after entry {Last}")]
    public static partial void TornTailCut(ILogger logger, GroupId group, string path, long offset, LogIndex last);

    [LoggerMessage(
        2002,
        LogLevel.Warning,
        "Group {Group}: one slot of the vote file was torn or behind; the other one holds, and it was mended")]
    public static partial void VoteSlotMended(ILogger logger, GroupId group);

    [LoggerMessage(
        2003,
        LogLevel.Information,
        "Group {Group}: log open with entries from {First} to {Last} in {Segments} segments, term {Term}")]
    public static partial void Opened(
        ILogger logger, GroupId group, LogIndex first, LogIndex last, int segments, Term term);

    [LoggerMessage(2004, LogLevel.Debug, "Group {Group}: segment {Path} begins with {SizeBytes} bytes")]
    public static partial void SegmentCreated(ILogger logger, GroupId group, string path, long sizeBytes);

    [LoggerMessage(2005, LogLevel.Information, "Group {Group}: entries from {From} to {Last} removed")]
    public static partial void Truncated(ILogger logger, GroupId group, LogIndex from, LogIndex last);

    [LoggerMessage(2006, LogLevel.Critical, "Group {Group}: storage failed, the process must exit")]
    public static partial void Failed(ILogger logger, Exception exception, GroupId group);

    [LoggerMessage(
        2007,
        LogLevel.Error,
        "Group {Group}: the disk is full; the write was refused, the log still ends at {Last}")]
    public static partial void DiskFull(ILogger logger, Exception exception, GroupId group, LogIndex last);

    [LoggerMessage(
        2008, LogLevel.Warning, "Group {Group}: {Path} is what a crash left and the log does not need; deleted")]
    public static partial void LeftoverDeleted(ILogger logger, GroupId group, string path);

    [LoggerMessage(
        2009,
        LogLevel.Warning,
        "Group {Group}: the durable floor could not be written at close; "
        + "the next start relies on the log alone")]
    public static partial void FloorNotWritten(ILogger logger, Exception exception, GroupId group);
}
