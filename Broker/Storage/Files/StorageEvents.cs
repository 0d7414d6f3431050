using Broker.Domain;

namespace Broker.Storage;

/// <summary>What storage tells its operator. Event ids 2xxx.</summary>
internal static partial class StorageEvents
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

    // Damage, and what is done about it; where the log begins.

    [LoggerMessage(
        2010,
        LogLevel.Error,
        "Group {Group}: {Path} is damaged at byte {Offset}: expected {Expected}. The group goes on without it")]
    public static partial void SegmentDamaged(
        ILogger logger, GroupId group, string path, long offset, string expected);

    [LoggerMessage(2011, LogLevel.Error, "Group {Group}: {Path} is gone or cannot be used, and nothing describes it")]
    public static partial void SegmentLost(ILogger logger, GroupId group, string path);

    [LoggerMessage(
        2012,
        LogLevel.Error,
        "Group {Group}: the log ends at {Last} now, though entries up to {Fence} may have been durable. Until it has "
        + "them again the replica does not campaign, and votes only for those who have them")]
    public static partial void Fenced(ILogger logger, GroupId group, LogIndex last, LogPosition fence);

    [LoggerMessage(
        2013,
        LogLevel.Error,
        "Group {Group}: no usable vote file in {Folder}. The replica begins empty, and takes no part until its leader "
        + "makes it a member again")]
    public static partial void VoteLost(ILogger logger, GroupId group, string folder);

    [LoggerMessage(
        2059,
        LogLevel.Error,
        "Group {Group}: its leader has gone on without what this replica has. What is in {Folder} is set aside; the "
        + "replica begins empty, and takes no part until its leader makes it a member again")]
    public static partial void LogGivenUp(ILogger logger, GroupId group, string folder);

    [LoggerMessage(
        2014,
        LogLevel.Error,
        "Group {Group}: the log begins after {Base}, but no snapshot can be read that says what was before")]
    public static partial void BaseLost(ILogger logger, GroupId group, LogIndex @base);

    [LoggerMessage(2015, LogLevel.Warning, "Group {Group}: {Path} is kept as {Quarantined}; delete it when you like")]
    public static partial void Quarantined(ILogger logger, GroupId group, string path, string quarantined);

    [LoggerMessage(2016, LogLevel.Warning, "Group {Group}: {Path} could not be kept for inspection")]
    public static partial void QuarantineFailed(ILogger logger, Exception exception, GroupId group, string path);

    [LoggerMessage(
        2017, LogLevel.Warning, "Group {Group}: {Path} had a damaged header or was cut short; no entry was lost")]
    public static partial void SegmentMended(ILogger logger, GroupId group, string path);

    [LoggerMessage(2018, LogLevel.Error, "Group {Group}: {Path} cannot be read")]
    public static partial void Unreadable(ILogger logger, Exception exception, GroupId group, string path);

    [LoggerMessage(
        2019,
        LogLevel.Warning,
        "Group {Group}: the positions file of {Path} could not be written; the next start reads the segment instead")]
    public static partial void PositionsNotWritten(ILogger logger, Exception exception, GroupId group, string path);

    [LoggerMessage(2020, LogLevel.Warning, "Group {Group}: the positions file of {Path} was missing or damaged")]
    public static partial void PositionsRebuilt(ILogger logger, GroupId group, string path);

    [LoggerMessage(2021, LogLevel.Information, "Group {Group}: {Path} was written anew, and is whole")]
    public static partial void SegmentReplaced(ILogger logger, GroupId group, string path);

    [LoggerMessage(2022, LogLevel.Information, "Group {Group}: the intact entries up to {Last} are in the log again")]
    public static partial void Rescued(ILogger logger, GroupId group, LogIndex last);

    [LoggerMessage(
        2023, LogLevel.Error, "Group {Group}: no space for intact entries after {Last}; the leader has them")]
    public static partial void NotRescued(ILogger logger, Exception exception, GroupId group, LogIndex last);

    [LoggerMessage(2024, LogLevel.Information, "Group {Group}: a snapshot at {Position} takes the place of the log")]
    public static partial void Installed(ILogger logger, GroupId group, LogPosition position);

    [LoggerMessage(2025, LogLevel.Information, "Group {Group}: entries up to {Last} dropped, {Segments} segments")]
    public static partial void Dropped(ILogger logger, GroupId group, LogIndex last, int segments);

    [LoggerMessage(
        2026, LogLevel.Warning, "Group {Group}: entries up to {Last} stay: no snapshot, or no segment, ends there")]
    public static partial void NotDropped(ILogger logger, GroupId group, LogIndex last);

    [LoggerMessage(2027, LogLevel.Error, "Group {Group}: the snapshot at {Index} is not for this process to use")]
    public static partial void SnapshotRefused(ILogger logger, Exception exception, GroupId group, LogIndex index);

    // Snapshots, index files and the background check.

    [LoggerMessage(2050, LogLevel.Information, "Group {Group}: snapshot at {Index} written, {SizeBytes} bytes")]
    public static partial void SnapshotWritten(ILogger logger, GroupId group, LogIndex index, int sizeBytes);

    [LoggerMessage(
        2051,
        LogLevel.Error,
        "Group {Group}: {Path} is damaged at byte {Offset}: expected {Expected}. It is not used, and made anew")]
    public static partial void SideFileDamaged(
        ILogger logger, Exception? exception, GroupId group, string path, long offset, string expected);

    [LoggerMessage(2052, LogLevel.Error, "Group {Group}: {Path} cannot be opened; it is not used")]
    public static partial void SideFileNotOpened(ILogger logger, Exception exception, GroupId group, string path);

    [LoggerMessage(2053, LogLevel.Warning, "Group {Group}: the damaged {Path} cannot be set aside; it stays")]
    public static partial void SnapshotNotSetAside(ILogger logger, Exception exception, GroupId group, string path);

    [LoggerMessage(2054, LogLevel.Warning, "{Path}, a temporary file, cannot be deleted; it costs its space")]
    public static partial void TemporaryNotDeleted(ILogger logger, Exception exception, string path);

    [LoggerMessage(
        2055,
        LogLevel.Information,
        "All files at rest checked: {Items} files, {SizeBytes} bytes in {Duration}, {Damaged} damaged")]
    public static partial void ScrubPassed(ILogger logger, int items, long sizeBytes, TimeSpan duration, int damaged);

    [LoggerMessage(2056, LogLevel.Error, "Group {Group}: the {Kind} at {First} is damaged")]
    public static partial void ScrubFoundDamage(ILogger logger, GroupId group, ScrubKind kind, LogIndex first);

    [LoggerMessage(2057, LogLevel.Error, "Group {Group}: the {Kind} at {First} could not be checked")]
    public static partial void ScrubFailed(
        ILogger logger, Exception exception, GroupId group, ScrubKind kind, LogIndex first);

    [LoggerMessage(2058, LogLevel.Error, "Group {Group}: its files at rest cannot be listed, and are not checked")]
    public static partial void ScrubLogFailed(ILogger logger, Exception exception, GroupId group);
}
