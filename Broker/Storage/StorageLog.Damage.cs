using Broker.Domain;

namespace Broker.Storage;

/// <summary>Damage, and what is done about it; where the log begins.</summary>
internal static partial class StorageLog
{
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

    [LoggerMessage(2021, LogLevel.Information, "Group {Group}: {Path} is whole again")]
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
        2026, LogLevel.Warning, "Group {Group}: entries up to {Last} stay, as no snapshot can be read there")]
    public static partial void NotDropped(ILogger logger, GroupId group, LogIndex last);

    [LoggerMessage(2027, LogLevel.Error, "Group {Group}: the snapshot at {Index} is not for this process to use")]
    public static partial void SnapshotRefused(ILogger logger, Exception exception, GroupId group, LogIndex index);
}
