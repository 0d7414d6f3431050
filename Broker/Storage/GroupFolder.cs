using System.Globalization;
using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// The names in a group's folder: <c>vote</c>, <c>{first index, 20 digits}.log</c>, and <c>*.tmp</c> that no one needs
/// after a crash.
/// </summary>
internal static class GroupFolder
{
    public const string VoteName = "vote";
    public const string TemporarySuffix = ".tmp";
    private const string SegmentSuffix = ".log";
    private const int Digits = 20;

    public static string SegmentName(LogIndex first) =>
        first.Value.ToString("D20", CultureInfo.InvariantCulture) + SegmentSuffix;

    public static bool TryParseSegment(string name, out LogIndex first)
    {
        first = default;
        if (name.Length != Digits + SegmentSuffix.Length || !name.EndsWith(SegmentSuffix, StringComparison.Ordinal)
            || !long.TryParse(name.AsSpan(0, Digits), NumberStyles.None, CultureInfo.InvariantCulture, out var value))
        {
            return false;
        }

        first = new LogIndex(value);
        return true;
    }

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
}
