using System.Globalization;

namespace Broker.Storage;

/// <summary>
/// What the vote file does not name is not part of the log: what a truncation, a drop or a snapshot had not yet
/// deleted, or a segment that was made and not yet used. After a cut it is what the damage has left, and is kept.
/// </summary>
internal sealed class Leftovers(GroupFolder folder)
{
    private readonly Quarantine _quarantine = new(folder);

    /// <summary>Deletes files that never got their name.</summary>
    public void DeleteTemporaries()
    {
        foreach (var name in folder.List())
        {
            if (name.EndsWith(GroupFolder.TemporarySuffix, StringComparison.Ordinal))
            {
                folder.Device.Delete(folder.PathOf(name));
            }
        }
    }

    /// <summary>Deletes what the vote file does not name, or moves it into quarantine.</summary>
    public void PutAway(VoteRecord vote)
    {
        var kept = new List<string>();
        var deleted = 0;
        foreach (var name in folder.List())
        {
            if (IsLeftover(vote, name, out var isWanted))
            {
                if (isWanted && vote.SetsAside)
                {
                    kept.Add(name);
                }
                else
                {
                    folder.Device.Delete(folder.PathOf(name));
                    StorageEvents.LeftoverDeleted(folder.Logger, folder.Group, folder.PathOf(name));
                    deleted++;
                }
            }
        }

        _quarantine.Take(kept);
        if (deleted > 0)
        {
            folder.Sync();
        }
    }

    /// <param name="vote">What the log is.</param>
    /// <param name="name">A file of the folder.</param>
    /// <param name="isWanted">Whether it holds anything that cannot be made anew and was not dropped on
    /// purpose.</param>
    private static bool IsLeftover(VoteRecord vote, string name, out bool isWanted)
    {
        isWanted = false;
        var dropped = vote.Base.Index;
        var active = vote.Active;
        if (GroupFolder.TryParseSegment(name, out var first))
        {
            isWanted = first > dropped;
            return first <= dropped || first > active.First || (first == active.First && !active.IsMade);
        }

        if (GroupFolder.TryParseSnapshot(name, out var index))
        {
            isWanted = index >= active.First;
            return index < dropped || index >= active.First;
        }

        return (GroupFolder.TryParsePositions(name, out first) || GroupFolder.TryParseIndex(name, out first))
            && (first <= dropped || first >= active.First);
    }
}

/// <summary>
/// The folder for damaged files that the log goes on without. They are kept for inspection, and never deleted by the
/// broker.
/// </summary>
internal sealed class Quarantine(GroupFolder folder)
{
    private readonly string _quarantine = folder.PathOf(GroupFolder.QuarantineName);

    /// <summary>Moves files of the group's folder; durable when it returns.</summary>
    public void Take(IReadOnlyCollection<string> names)
    {
        if (names.Count == 0)
        {
            return;
        }

        folder.Device.CreateFolder(_quarantine);
        foreach (var name in names)
        {
            var to = FreeName(name);
            folder.Device.Rename(folder.PathOf(name), to);
            StorageEvents.Quarantined(folder.Logger, folder.Group, folder.PathOf(name), to);
        }

        folder.Device.SyncFolder(_quarantine);
        folder.Sync();
    }

    /// <summary>Keeps a copy of a small file that is about to be replaced.</summary>
    public void TakeCopy(string name, int maxBytes)
    {
        folder.Device.CreateFolder(_quarantine);
        var to = FreeName(name);
        try
        {
            var bytes = new byte[maxBytes];
            using var from = folder.Device.Open(folder.PathOf(name), create: false);
            var count = from.Read(0, bytes);
            using var copy = folder.Device.Open(to, create: true);
            copy.Write(0, bytes.AsSpan(0, count));
            copy.Sync();
        }
        catch (IOException failure)
        {
            // The copy is for people; the group must start without it.
            StorageEvents.QuarantineFailed(folder.Logger, failure, folder.Group, folder.PathOf(name));
            return;
        }

        folder.Device.SyncFolder(_quarantine);
        StorageEvents.Quarantined(folder.Logger, folder.Group, folder.PathOf(name), to);
    }

    private string FreeName(string name)
    {
        for (var number = 1; ; number++)
        {
            var path = Path.Combine(_quarantine, $"{name}.{number.ToString(CultureInfo.InvariantCulture)}");
            if (!folder.Device.Exists(path))
            {
                return path;
            }
        }
    }
}
