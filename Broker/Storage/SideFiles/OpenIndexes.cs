using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// The index files that readers have open, or had a moment ago, and those in which damage was found. Whoever pins one
/// reads it outside of the lock, and learns from <see cref="Unpin"/> whether it still has its name.
/// </summary>
internal sealed class OpenIndexes : IDisposable
{
    private readonly GroupFolder _folder;
    private readonly int _limit;
    private readonly Dictionary<LogIndex, OpenIndex> _open = [];
    private readonly HashSet<LogIndex> _damaged = [];

    /// <summary>Counts the names that changed hands: a file that was opened meanwhile may be another one.</summary>
    private long _changes;
    private long _uses;
    private bool _disposed;

    /// <param name="folder">The group's folder.</param>
    /// <param name="limit">Files that stay open while no one reads them.</param>
    public OpenIndexes(GroupFolder folder, int limit)
    {
        _folder = folder;
        _limit = limit;
    }

    /// <summary>Guards everything here, and the names of the files. Never held while bytes are read.</summary>
    public Lock Gate { get; } = new();

    public string PathOf(LogIndex first) => _folder.PathOf(GroupFolder.IndexName(first));

    public bool IsDamaged(LogIndex first)
    {
        lock (Gate)
        {
            return _damaged.Contains(first);
        }
    }

    /// <summary>
    /// The file with its header, open until <see cref="Unpin"/>; null when there is none, or a damaged one.
    /// </summary>
    public OpenIndex? Pin(LogIndex first)
    {
        while (true)
        {
            long changes;
            lock (Gate)
            {
                ObjectDisposedException.ThrowIf(_disposed, this);
                if (_damaged.Contains(first))
                {
                    return null;
                }

                if (_open.TryGetValue(first, out var open))
                {
                    return Use(open);
                }

                changes = _changes;
            }

            var opened = TryOpen(first, out var damage);
            lock (Gate)
            {
                if (_disposed || changes != _changes)
                {
                    // What was opened may be a file that has been replaced meanwhile.
                    opened?.File.Dispose();
                    continue;
                }

                if (damage is { } found)
                {
                    Remember(first, found);
                }

                return opened is null ? null : Use(Keep(first, opened));
            }
        }
    }

    /// <summary>
    /// Ends a use; damage that was found is remembered if the file still has its name, and false says that it has not.
    /// </summary>
    public bool Unpin(LogIndex first, OpenIndex open, FileDamage? damage)
    {
        lock (Gate)
        {
            open.Users--;
            if (open.IsRemoved)
            {
                open.CloseIfUnused();
                return false;
            }

            if (damage is { } found)
            {
                Remember(first, found);
            }

            CloseIdleFiles();
            return true;
        }
    }

    /// <summary>Another file has the name now, or none.</summary>
    public void Forget(LogIndex first)
    {
        lock (Gate)
        {
            _changes++;
            _damaged.Remove(first);
            Remove(first);
        }
    }

    public void Dispose()
    {
        lock (Gate)
        {
            _disposed = true;
            foreach (var open in _open.Values)
            {
                open.IsRemoved = true;
                open.CloseIfUnused();
            }

            _open.Clear();
        }
    }

    private OpenIndex? TryOpen(LogIndex first, out FileDamage? damage)
    {
        damage = null;
        var path = PathOf(first);
        var file = SideFile.TryOpen(_folder, path);
        if (file is null)
        {
            return null;
        }

        OpenIndex? open = null;
        try
        {
            if (PagedFile.TryReadHeader<IndexHeader>(_folder, path, file, out var header, out var seed, out var found))
            {
                open = new OpenIndex(file, header, seed);
            }
            else
            {
                damage = found;
            }

            return open;
        }
        finally
        {
            if (open is null)
            {
                file.Dispose();
            }
        }
    }

    /// <summary>Another reader may have been faster; then its file is kept.</summary>
    private OpenIndex Keep(LogIndex first, OpenIndex opened)
    {
        if (_open.TryGetValue(first, out var other))
        {
            opened.File.Dispose();
            return other;
        }

        _open.Add(first, opened);
        return opened;
    }

    private OpenIndex Use(OpenIndex open)
    {
        open.Users++;
        open.LastUse = ++_uses;
        return open;
    }

    private void Remember(LogIndex first, FileDamage damage)
    {
        if (_damaged.Add(first))
        {
            StorageEvents.SideFileDamaged(
                _folder.Logger, damage.Cause, _folder.Group, PathOf(first), damage.Offset, damage.Expected);
        }

        Remove(first);
    }

    private void Remove(LogIndex first)
    {
        if (_open.Remove(first, out var open))
        {
            open.IsRemoved = true;
            open.CloseIfUnused();
        }
    }

    /// <summary>Keeps the number of open files bounded: those that were used longest ago are closed.</summary>
    private void CloseIdleFiles()
    {
        while (_open.Count > _limit)
        {
            var idle = _open.Where(static pair => pair.Value.Users == 0).ToList();
            if (idle.Count == 0)
            {
                // All of them are being read; whoever ends next closes one.
                return;
            }

            Remove(idle.MinBy(static pair => pair.Value.LastUse).Key);
        }
    }
}

/// <summary>
/// An open file; guarded by <see cref="OpenIndexes.Gate"/>, except for reads of the file's bytes.
/// </summary>
internal sealed class OpenIndex(IStorageFile file, IndexHeader header, uint seed)
{
    public IStorageFile File { get; } = file;

    public IndexHeader Header { get; } = header;

    public uint Seed { get; } = seed;

    public int Users { get; set; }

    public long LastUse { get; set; }

    public bool IsRemoved { get; set; }

    public void CloseIfUnused()
    {
        if (IsRemoved && Users == 0)
        {
            File.Dispose();
        }
    }
}
