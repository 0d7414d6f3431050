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
