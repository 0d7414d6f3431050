using System.Buffers.Binary;
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
    private readonly GroupFolder _folder;

    /// <summary>Held while a file's name changes hands.</summary>
    private readonly Lock _gate = new();

    /// <summary>Counts what got a name: a reader must not set aside what replaced the file that it read.</summary>
    private long _changes;

    /// <summary>See <see cref="TakeSetAside"/>. Locked for moments: a group's loop never waits for the disk.</summary>
    private readonly List<LogIndex> _setAside = [];

    public SnapshotFiles(IStorageDevice device, string folder, GroupId group, Guid storeId, ILogger logger)
        : this(new GroupFolder(device, folder, group, storeId, logger))
    {
    }

    internal SnapshotFiles(GroupFolder folder) => _folder = folder;

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
            _folder.Group, _folder.StoreId, position, configuration, data.Length, Crc32C.Compute(data));
        SideFile.Replace(
            _folder,
            GroupFolder.SnapshotName(position.Index),
            data,
            (file, content) => CheckedPages.Write(
                file, PagedFile.Begin(file, header), SnapshotHeader.DataPage, content),
            _gate,
            () =>
            {
                _changes++;
                lock (_setAside)
                {
                    _setAside.Remove(position.Index);
                }
            });
        StorageEvents.SnapshotWritten(_folder.Logger, _folder.Group, position.Index, data.Length);
    }

    /// <summary>Reads a snapshot; false when it is missing, or damaged, which is logged.</summary>
    /// <exception cref="StorageRefusedException">It is another disk's, another group's, or of another format
    /// version.</exception>
    public bool TryRead(LogIndex index, [NotNullWhen(true)] out StateSnapshot? snapshot)
    {
        snapshot = null;
        var changes = Changes();
        var path = PathOf(index);
        using var file = SideFile.TryOpen(_folder, path);
        if (file is null)
        {
            return false;
        }

        if (PagedFile.TryReadHeader<SnapshotHeader>(_folder, path, file, out var header, out var seed, out var damage))
        {
            var data = GC.AllocateUninitializedArray<byte>(header.DataBytes);
            if (CheckedPages.Read(file, seed, SnapshotHeader.DataPage, offset: 0, data) is not { } bad)
            {
                snapshot = new StateSnapshot(header.Position, header.Configuration, data);
                return true;
            }

            damage = bad;
        }

        SetAside(index, path, damage, changes);
        return false;
    }

    /// <summary>The snapshots by their names, in rising order; some may turn out to be damaged.</summary>
    public IReadOnlyList<LogIndex> List() => _folder.List(GroupFolder.TryParseSnapshot);

    /// <summary>
    /// Where snapshots were found damaged since the last call, by whoever read them: there is none any more. None that
    /// was written anew meanwhile.
    /// </summary>
    public IReadOnlyList<LogIndex> TakeSetAside()
    {
        lock (_setAside)
        {
            LogIndex[] taken = [.. _setAside];
            _setAside.Clear();
            return taken;
        }
    }

    /// <summary>Deletes the snapshot at this index, if there is one.</summary>
    public void Delete(LogIndex index) => Delete(found => found == index);

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
        var path = PathOf(index);
        using var file = SideFile.TryOpen(_folder, path);
        if (file is null)
        {
            return ScrubPiece.Nothing;
        }

        if (PagedFile.TryReadHeader<SnapshotHeader>(_folder, path, file, out var header, out var seed, out var damage))
        {
            var page = Math.Max(SnapshotHeader.DataPage, cursor);
            var piece = ScrubPiece.OfPages(page, header.Pages, maxBytes);
            if (CheckedPages.Verify(file, seed, page, piece.Pages) is not { } bad)
            {
                return piece;
            }

            damage = bad;
        }

        SetAside(index, path, damage, changes);
        return ScrubPiece.Damaged(SnapshotHeader.SizeBytes);
    }

    private long Changes()
    {
        lock (_gate)
        {
            return _changes;
        }
    }

    private string PathOf(LogIndex index) => _folder.PathOf(GroupFolder.SnapshotName(index));

    private void SetAside(LogIndex index, string path, FileDamage damage, long changes)
    {
        StorageEvents.SideFileDamaged(
            _folder.Logger, damage.Cause, _folder.Group, path, damage.Offset, damage.Expected);
        lock (_gate)
        {
            if (changes != _changes)
            {
                return;
            }

            lock (_setAside)
            {
                _setAside.Add(index);
            }

            try
            {
                if (_folder.Device.Exists(path))
                {
                    _folder.Device.Rename(path, path + GroupFolder.BadSuffix);
                }
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                StorageEvents.SnapshotNotSetAside(_folder.Logger, failure, _folder.Group, path);
            }
        }
    }

    private void Delete(Func<LogIndex, bool> isUnwanted)
    {
        var deleted = 0;
        foreach (var name in _folder.List())
        {
            if ((GroupFolder.TryParseSnapshot(name, out var index) || GroupFolder.TryParseBadSnapshot(name, out index))
                && isUnwanted(index))
            {
                _folder.Device.Delete(_folder.PathOf(name));
                deleted++;
            }
        }

        if (deleted > 0)
        {
            _folder.Sync();
        }
    }
}

/// <summary>A state machine's state after one entry of the log.</summary>
/// <param name="Position">The last entry that the state contains.</param>
/// <param name="Configuration">The members of the group as of that entry.</param>
/// <param name="Data">The state, as its state machine wrote it.</param>
public sealed record StateSnapshot(
    LogPosition Position, GroupConfiguration Configuration, ReadOnlyMemory<byte> Data);

/// <summary>
/// The first 4 KiB of a snapshot file, little endian; the rest of the block is zero, and the data follows in <see
/// cref="CheckedPages"/>:
/// <code>
///  0 "BRKRSNAP"          8 format version      12 CRC32C of all other bytes of the block
/// 16 group              20 CRC32C of the data  24 store id (16 bytes)
/// 40 index              48 term                56 bytes of data
/// 64 index of the configuration                72 bytes of the configuration   76 zero
/// 80 the configuration, see GroupConfiguration
/// </code>
/// Group 3 after entry 9 of term 2, 5 bytes of data, voters 1 and 2 since the beginning:
/// <code>
/// 42 52 4B 52 53 4E 41 50  01 00 00 00 .. .. .. ..  03 00 00 00 .. .. .. ..  (store id)
/// 09 00 00 00 00 00 00 00  02 00 00 00 00 00 00 00  05 00 00 00 00 00 00 00
/// 00 00 00 00 00 00 00 00  0C 00 00 00 00 00 00 00  01 02 00 00 01 00 00 00  02 00 00 00
/// </code>
/// A file gets its name only after all of it is durable, so whatever is bad in it is damage, never a torn write.
/// </summary>
internal sealed record SnapshotHeader(
    GroupId Group, Guid StoreId, LogPosition Position, GroupConfiguration Configuration, int DataBytes, uint DataCrc32C)
    : IPagedHeader<SnapshotHeader>
{
    public const int SizeBytes = CheckedPages.PageBytes;

    /// <summary>Page 0 is this header.</summary>
    public const long DataPage = 1;

    private const int ConfigurationAt = 80;

    public static string Expected => "a snapshot header with a matching checksum";

    public static ReadOnlySpan<byte> Magic => "BRKRSNAP"u8;

    public string FileName => GroupFolder.SnapshotName(Position.Index);

    public long Pages => DataPage + CheckedPages.Count(DataBytes);

    public void Encode(Span<byte> block)
    {
        block.Clear();
        BinaryPrimitives.WriteInt32LittleEndian(block[16..], Group.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(block[20..], DataCrc32C);
        StoreId.TryWriteBytes(block[24..]);
        BinaryPrimitives.WriteInt64LittleEndian(block[40..], Position.Index.Value);
        BinaryPrimitives.WriteInt64LittleEndian(block[48..], Position.Term.Value);
        BinaryPrimitives.WriteInt64LittleEndian(block[56..], DataBytes);
        BinaryPrimitives.WriteInt64LittleEndian(block[64..], Configuration.Index.Value);
        var configuration = Configuration.Encode();
        BinaryPrimitives.WriteInt32LittleEndian(block[72..], configuration.Length);
        configuration.CopyTo(block[ConfigurationAt..]);
        CheckedBlock.Seal(block, Magic);
    }

    /// <summary>Null when the block is damaged. An intact one of another disk, group or version is refused.</summary>
    public static SnapshotHeader? TryDecode(ReadOnlySpan<byte> block, string path, GroupId group, Guid storeId)
    {
        if (block.Length < SizeBytes || !CheckedBlock.IsIntact(block, Magic))
        {
            return null;
        }

        CheckedBlock.CheckVersion(block, path);
        var owner = new GroupId(BinaryPrimitives.ReadInt32LittleEndian(block[16..]));
        GroupFolder.CheckOwner(path, group, storeId, owner, new Guid(block.Slice(24, 16)));
        var dataBytes = BinaryPrimitives.ReadInt64LittleEndian(block[56..]);
        var configurationBytes = BinaryPrimitives.ReadInt32LittleEndian(block[72..]);
        if (dataBytes is < 0 or > Limits.SnapshotBytes
            || configurationBytes is < 0 or > GroupConfiguration.MaxEncodedBytes
            || !GroupConfiguration.TryDecode(
                block.Slice(ConfigurationAt, configurationBytes),
                new LogIndex(BinaryPrimitives.ReadInt64LittleEndian(block[64..])),
                out var configuration))
        {
            return null;
        }

        return new SnapshotHeader(
            group,
            storeId,
            new LogPosition(
                new LogIndex(BinaryPrimitives.ReadInt64LittleEndian(block[40..])),
                new Term(BinaryPrimitives.ReadInt64LittleEndian(block[48..]))),
            configuration,
            (int)dataBytes,
            BinaryPrimitives.ReadUInt32LittleEndian(block[20..]));
    }
}
