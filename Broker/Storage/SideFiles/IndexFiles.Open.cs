using Broker.Domain;

namespace Broker.Storage;

public sealed partial class IndexFiles
{
    private string PathOf(LogIndex first) => Path.Combine(_folder, GroupFolder.IndexName(first));

    /// <summary>Reads from a pinned file, and lets it go.</summary>
    private bool TryReadPages(
        LogIndex first, OpenIndex open, long firstPage, long offset, Span<byte> into, out bool isCurrent)
    {
        FileDamage? damage;
        try
        {
            var bad = CheckedPages.Read(open.File, open.Seed, firstPage, offset, into);
            damage = bad is { } badOffset ? FileDamage.OfPage(badOffset) : null;
        }
        catch (IOException failure)
        {
            damage = FileDamage.Unreadable(failure);
        }

        isCurrent = Unpin(first, open, damage);
        return damage is null;
    }

    /// <summary>
    /// The file with its header, open until <see cref="Unpin"/>; null when there is none, or a damaged one.
    /// </summary>
    private OpenIndex? Pin(LogIndex first)
    {
        while (true)
        {
            long changes;
            lock (_gate)
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
            lock (_gate)
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
    private bool Unpin(LogIndex first, OpenIndex open, FileDamage? damage)
    {
        lock (_gate)
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

    private OpenIndex? TryOpen(LogIndex first, out FileDamage? damage)
    {
        damage = null;
        var path = PathOf(first);
        var file = SideFile.TryOpen(_device, path, _group, _logger);
        if (file is null)
        {
            return null;
        }

        IndexHeader? header = null;
        try
        {
            var block = new byte[IndexHeader.SizeBytes];
            header = IndexHeader.TryDecode(block.AsSpan(0, file.Read(0, block)), path, _group, _storeId);
            damage = FindDamage(file, header, first);
            return damage is null ? new OpenIndex(file, header!, CheckedBlock.CrcIn(block)) : null;
        }
        catch (IOException failure) when (failure is not StorageRefusedException)
        {
            damage = FileDamage.Unreadable(failure);
            return null;
        }
        finally
        {
            if (header is null || damage is not null)
            {
                file.Dispose();
            }
        }
    }

    private static FileDamage? FindDamage(IStorageFile file, IndexHeader? header, LogIndex first)
    {
        if (header is null)
        {
            return new FileDamage(0, "an index header with a matching checksum");
        }

        if (header.First != first)
        {
            return new FileDamage(0, $"the name {GroupFolder.IndexName(header.First)}");
        }

        var length = header.Pages * CheckedPages.PageBytes;
        return file.Length == length ? null : new FileDamage(file.Length, $"a length of {length:N0} bytes");
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
                _logger, damage.Cause, _group, PathOf(first), damage.Offset, damage.Expected);
        }

        Remove(first);
    }

    /// <summary>Another file has the name now, or none.</summary>
    private void Forget(LogIndex first)
    {
        _changes++;
        _damaged.Remove(first);
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
        while (_open.Count > _openFiles)
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

    /// <summary>An open file; guarded by the gate, except for reads of the file's bytes.</summary>
    private sealed class OpenIndex(IStorageFile file, IndexHeader header, uint seed)
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

    private readonly ref struct Content(IndexHeader header, ReadOnlySpan<byte> directory, ReadOnlySpan<byte> body)
    {
        public IndexHeader Header { get; } = header;

        public ReadOnlySpan<byte> Directory { get; } = directory;

        public ReadOnlySpan<byte> Body { get; } = body;
    }
}
