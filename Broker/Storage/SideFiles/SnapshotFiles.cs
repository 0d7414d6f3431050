using System.Diagnostics.CodeAnalysis;
using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// A group's snapshots, one file each, see <see cref="SnapshotHeader"/>. One thread at a time writes and deletes; any
/// thread reads. A damaged file is never served and never stops the group: it is set aside as <c>*.bad</c>, and gone
/// with the snapshots that are deleted around it.
/// </summary>
public sealed class SnapshotFiles
{
    private readonly IStorageDevice _device;
    private readonly string _folder;
    private readonly GroupId _group;
    private readonly Guid _storeId;
    private readonly ILogger _logger;

    /// <summary>Held while a file's name changes hands.</summary>
    private readonly Lock _gate = new();

    /// <summary>Counts what got a name: a reader must not set aside what replaced the file that it read.</summary>
    private long _changes;

    public SnapshotFiles(IStorageDevice device, string folder, GroupId group, Guid storeId, ILogger logger)
    {
        _device = device;
        _folder = folder;
        _group = group;
        _storeId = storeId;
        _logger = logger;
    }

    /// <summary>
    /// Makes a snapshot durable, in place of one at the same index. At most <see cref="Limits.SnapshotBytes"/>.
    /// </summary>
    /// <exception cref="DiskFullException">No space; the files are as before.</exception>
    /// <exception cref="StorageException">A write, flush or rename failed.</exception>
    public void Write(LogPosition position, GroupConfiguration configuration, ReadOnlySpan<byte> data)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(position.Index.Value, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(data.Length, Limits.SnapshotBytes);
        var header = new SnapshotHeader(
            _group, _storeId, position, configuration, data.Length, Crc32C.Compute(data));
        SideFile.Replace(
            _device,
            _folder,
            GroupFolder.SnapshotName(position.Index),
            data,
            (file, content) => WriteFile(file, header, content),
            _gate,
            () => _changes++,
            _logger);
        StorageEvents.SnapshotWritten(_logger, _group, position.Index, data.Length);
    }

    /// <summary>Reads a snapshot; false when it is missing, or damaged, which is logged.</summary>
    /// <exception cref="StorageRefusedException">It is another disk's, another group's, or of another format
    /// version.</exception>
    public bool TryRead(LogIndex index, [NotNullWhen(true)] out StateSnapshot? snapshot)
    {
        snapshot = null;
        var changes = Changes();
        using var file = SideFile.TryOpen(_device, PathOf(index), _group, _logger);
        if (file is null)
        {
            return false;
        }

        var (header, seed, damage) = ReadHeader(file, index);
        if (header is not null)
        {
            var data = GC.AllocateUninitializedArray<byte>(header.DataBytes);
            damage = ReadData(file, seed, data);
            if (damage is null)
            {
                snapshot = new StateSnapshot(header.Position, header.Configuration, data);
                return true;
            }
        }

        SetAside(index, damage!.Value, changes);
        return false;
    }

    /// <summary>The snapshots by their names, in rising order; some may turn out to be damaged.</summary>
    public IReadOnlyList<LogIndex> List()
    {
        var indexes = new List<LogIndex>();
        foreach (var name in _device.List(_folder))
        {
            if (GroupFolder.TryParseSnapshot(name, out var index))
            {
                indexes.Add(index);
            }
        }

        return indexes;
    }

    /// <summary>Deletes the snapshots of the log before this index, also those that were set aside.</summary>
    public void DeleteBelow(LogIndex index) => Delete(found => found < index);

    /// <summary>Deletes the snapshots of the log after this index, also those that were set aside.</summary>
    public void DeleteAbove(LogIndex index) => Delete(found => found > index);

    /// <summary>
    /// Checks a piece of a snapshot from a cursor on (0: the beginning), without keeping what it reads. Damage is
    /// treated as in <see cref="TryRead"/>. A snapshot that is not there is intact.
    /// </summary>
    public ScrubPiece Verify(LogIndex index, long cursor, int maxBytes)
    {
        var changes = Changes();
        using var file = SideFile.TryOpen(_device, PathOf(index), _group, _logger);
        if (file is null)
        {
            return ScrubPiece.Nothing;
        }

        var (header, seed, damage) = ReadHeader(file, index);
        if (header is not null)
        {
            var page = Math.Max(SnapshotHeader.DataPage, cursor);
            var piece = ScrubPiece.OfPages(page, header.FileBytes / CheckedPages.PageBytes, maxBytes);
            damage = SideFile.Verify(file, seed, page, piece.Pages);
            if (damage is null)
            {
                return piece;
            }
        }

        SetAside(index, damage!.Value, changes);
        return ScrubPiece.Damaged(SnapshotHeader.SizeBytes);
    }

    private static void WriteFile(IStorageFile file, SnapshotHeader header, ReadOnlySpan<byte> data)
    {
        var block = new byte[SnapshotHeader.SizeBytes];
        header.Encode(block);

        // All of the space at once: a full disk shows before anything is written.
        file.Allocate(header.FileBytes);
        file.Write(0, block);
        CheckedPages.Write(file, CheckedBlock.CrcIn(block), SnapshotHeader.DataPage, data);
    }

    private static FileDamage? ReadData(IStorageFile file, uint seed, byte[] data)
    {
        try
        {
            var bad = CheckedPages.Read(file, seed, SnapshotHeader.DataPage, offset: 0, data);
            return bad is { } offset ? FileDamage.OfPage(offset) : null;
        }
        catch (IOException failure)
        {
            return FileDamage.Unreadable(failure);
        }
    }

    private long Changes()
    {
        lock (_gate)
        {
            return _changes;
        }
    }

    private string PathOf(LogIndex index) => Path.Combine(_folder, GroupFolder.SnapshotName(index));

    private (SnapshotHeader? Header, uint Seed, FileDamage? Damage) ReadHeader(IStorageFile file, LogIndex index)
    {
        var path = PathOf(index);
        var block = new byte[SnapshotHeader.SizeBytes];
        try
        {
            var header = SnapshotHeader.TryDecode(block.AsSpan(0, file.Read(0, block)), path, _group, _storeId);
            if (header is null)
            {
                return (null, 0, new FileDamage(0, "a snapshot header with a matching checksum"));
            }

            if (header.Position.Index != index)
            {
                return (null, 0, new FileDamage(0, $"the name {GroupFolder.SnapshotName(header.Position.Index)}"));
            }

            return file.Length == header.FileBytes
                ? (header, CheckedBlock.CrcIn(block), null)
                : (null, 0, new FileDamage(file.Length, $"a length of {header.FileBytes:N0} bytes"));
        }
        catch (IOException failure) when (failure is not StorageRefusedException)
        {
            return (null, 0, FileDamage.Unreadable(failure));
        }
    }

    private void SetAside(LogIndex index, FileDamage damage, long changes)
    {
        var path = PathOf(index);
        StorageEvents.SideFileDamaged(_logger, damage.Cause, _group, path, damage.Offset, damage.Expected);
        lock (_gate)
        {
            if (changes != _changes)
            {
                return;
            }

            try
            {
                if (_device.Exists(path))
                {
                    _device.Rename(path, path + GroupFolder.BadSuffix);
                }
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                StorageEvents.SnapshotNotSetAside(_logger, failure, _group, path);
            }
        }
    }

    private void Delete(Func<LogIndex, bool> isUnwanted)
    {
        var deleted = 0;
        foreach (var name in _device.List(_folder))
        {
            if ((GroupFolder.TryParseSnapshot(name, out var index) || GroupFolder.TryParseBadSnapshot(name, out index))
                && isUnwanted(index))
            {
                _device.Delete(Path.Combine(_folder, name));
                deleted++;
            }
        }

        if (deleted > 0)
        {
            _device.SyncFolder(_folder);
        }
    }
}

/// <summary>A state machine's state after one entry of the log.</summary>
/// <param name="Position">The last entry that the state contains.</param>
/// <param name="Configuration">The members of the group as of that entry.</param>
/// <param name="Data">The state, as its state machine wrote it.</param>
public sealed record StateSnapshot(
    LogPosition Position, GroupConfiguration Configuration, ReadOnlyMemory<byte> Data);
