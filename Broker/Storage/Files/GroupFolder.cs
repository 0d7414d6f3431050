using System.Globalization;
using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// The names in a group's folder: <c>vote</c>, <c>{first index, 20 digits}.log</c> and beside it <c>.pos</c> and
/// <c>.idx</c>, <c>{last index in it, 20 digits}.snap</c>, <c>*.bad</c> that is kept for inspection only, <c>*.tmp</c>
/// that no one needs after a crash, and the folder <c>quarantine</c> for damaged files that were replaced by nothing.
/// </summary>
internal static class GroupFolder
{
    public const string VoteName = "vote";
    public const string TemporarySuffix = ".tmp";
    public const string BadSuffix = ".bad";
    public const string QuarantineName = "quarantine";
    private const string SegmentSuffix = ".log";
    private const string PositionsSuffix = ".pos";
    private const string SnapshotSuffix = ".snap";
    private const string IndexSuffix = ".idx";
    private const int Digits = 20;

    public static string SegmentName(LogIndex first) => NameOf(first, SegmentSuffix);

    public static bool TryParseSegment(string name, out LogIndex first) => TryParse(name, SegmentSuffix, out first);

    public static string PositionsName(LogIndex first) => NameOf(first, PositionsSuffix);

    public static bool TryParsePositions(string name, out LogIndex first) =>
        TryParse(name, PositionsSuffix, out first);

    public static string SnapshotName(LogIndex index) => NameOf(index, SnapshotSuffix);

    public static bool TryParseSnapshot(string name, out LogIndex index) => TryParse(name, SnapshotSuffix, out index);

    /// <summary>A damaged snapshot that was set aside.</summary>
    public static bool TryParseBadSnapshot(string name, out LogIndex index) =>
        TryParse(name, SnapshotSuffix + BadSuffix, out index);

    public static string IndexName(LogIndex first) => NameOf(first, IndexSuffix);

    public static bool TryParseIndex(string name, out LogIndex first) => TryParse(name, IndexSuffix, out first);

    /// <summary>Refuses a sound file of another disk or group: someone copied or mixed up folders.</summary>
    public static void CheckOwner(string path, GroupId group, Guid storeId, GroupId actualGroup, Guid actualStoreId)
    {
        if (actualGroup != group || actualStoreId != storeId)
        {
            throw new StorageRefusedException(
                $"{path} belongs to group {actualGroup} of disk {actualStoreId}, "
                + $"not to group {group} of disk {storeId}. Give this node the data folder that it had before; "
                + "a folder copied from another node must not be used. Nothing was changed.");
        }
    }

    private static string NameOf(LogIndex index, string suffix) =>
        index.Value.ToString("D20", CultureInfo.InvariantCulture) + suffix;

    private static bool TryParse(string name, string suffix, out LogIndex index)
    {
        index = default;
        if (name.Length != Digits + suffix.Length || !name.EndsWith(suffix, StringComparison.Ordinal)
            || !long.TryParse(name.AsSpan(0, Digits), NumberStyles.None, CultureInfo.InvariantCulture, out var value))
        {
            return false;
        }

        index = new LogIndex(value);
        return true;
    }
}
