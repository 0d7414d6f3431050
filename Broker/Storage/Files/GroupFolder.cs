using System.Globalization;
using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// A group's folder on a disk, and whose it is: what all of its files are opened with. The names in it: <c>vote</c>,
/// <c>{first index, 20 digits}.log</c> and beside it <c>.pos</c> and <c>.idx</c>, <c>{last index in it, 20
/// digits}.snap</c>, <c>*.bad</c> that is kept for inspection only, <c>*.tmp</c> that no one needs after a crash, and
/// the folder <c>quarantine</c> for damaged files that were replaced by nothing, and <c>recoveries.txt</c>, what
/// operators did by force, for people.
/// </summary>
internal sealed class GroupFolder(IStorageDevice device, string path, GroupId group, Guid storeId, ILogger logger)
{
    public const string VoteName = "vote";
    public const string TemporarySuffix = ".tmp";
    public const string BadSuffix = ".bad";
    public const string QuarantineName = "quarantine";
    public const string AuditName = "recoveries.txt";
    private const string SegmentSuffix = ".log";
    private const string PositionsSuffix = ".pos";
    private const string SnapshotSuffix = ".snap";
    private const string IndexSuffix = ".idx";
    private const int Digits = 20;

    /// <summary>Takes a name apart; false when it is that of another kind of file.</summary>
    public delegate bool TryParseName(string name, out LogIndex index);

    public IStorageDevice Device { get; } = device;

    public string FullPath { get; } = path;

    /// <summary>The group that the files must belong to.</summary>
    public GroupId Group { get; } = group;

    /// <summary>The disk that the files must belong to.</summary>
    public Guid StoreId { get; } = storeId;

    /// <summary>Hears of damage.</summary>
    public ILogger Logger { get; } = logger;

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

    public string PathOf(string name) => Path.Combine(FullPath, name);

    /// <summary>Makes the names in the folder durable.</summary>
    public void Sync() => Device.SyncFolder(FullPath);

    /// <summary>Names of all files, in ordinal order.</summary>
    public IReadOnlyList<string> List() => Device.List(FullPath);

    /// <summary>The indexes in the names of one kind of file, in rising order.</summary>
    public IReadOnlyList<LogIndex> List(TryParseName tryParse)
    {
        var indexes = new List<LogIndex>();
        foreach (var name in List())
        {
            if (tryParse(name, out var index))
            {
                indexes.Add(index);
            }
        }

        return indexes;
    }

    public void DeleteIfThere(string path)
    {
        if (Device.Exists(path))
        {
            Device.Delete(path);
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
