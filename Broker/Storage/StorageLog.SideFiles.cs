using Broker.Domain;

namespace Broker.Storage;

/// <summary>Snapshots, index files and their background check.</summary>
internal static partial class StorageLog
{
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
