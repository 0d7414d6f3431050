using System.Buffers.Binary;
using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// The index files of a group's sealed segments, see <see cref="IndexHeader"/>: what a state machine wants to know
/// about where things lie in a segment. Storage does not look into it. One thread at a time writes and deletes; any
/// thread reads. All of it can be made anew from the log, so damage is logged and remembered (<see cref="IsDamaged"/>)
/// until the file is written again or deleted.
/// <para>A deleted file may come back after a power cut: whoever opens the folder compares <see
/// cref="TryReadDirectory"/>'s last index with that of the segment.</para>
/// </summary>
public sealed class IndexFiles : IDisposable
{
    /// <summary>
    /// Readers of old entries move through one segment each; more of them than this pay an open (10 µs) a look-up.
    /// </summary>
    public const int DefaultOpenFiles = 16;

    private readonly GroupFolder _folder;
    private readonly OpenIndexes _open;

    /// <param name="device">The disk.</param>
    /// <param name="folder">The group's folder; it exists.</param>
    /// <param name="group">The group that the files must belong to.</param>
    /// <param name="storeId">The disk that the files must belong to.</param>
    /// <param name="logger">Hears of damage.</param>
    /// <param name="openFiles">Files that stay open while no one reads them.</param>
    public IndexFiles(
        IStorageDevice device,
        string folder,
        GroupId group,
        Guid storeId,
        ILogger logger,
        int openFiles = DefaultOpenFiles)
        : this(new GroupFolder(device, folder, group, storeId, logger), openFiles)
    {
    }

    internal IndexFiles(GroupFolder folder, int openFiles = DefaultOpenFiles)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(openFiles, 1);
        _folder = folder;
        _open = new OpenIndexes(folder, openFiles);
    }

    /// <summary>
    /// Makes the index of a sealed segment durable, in place of what there was. Directory and body hold at most <see
    /// cref="Limits.SegmentIndexBytes"/> each.
    /// </summary>
    /// <exception cref="DiskFullException">No space; the files are as before.</exception>
    /// <exception cref="StorageException">A write, flush or rename failed.</exception>
    public void Write(LogIndex first, LogIndex last, ReadOnlySpan<byte> directory, ReadOnlySpan<byte> body)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(first.Value, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(last.Value, first.Value);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(directory.Length, Limits.SegmentIndexBytes);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(body.Length, Limits.SegmentIndexBytes);
        var crc = Crc32C.Compute(body, Crc32C.Compute(directory));
        var header = new IndexHeader(
            _folder.Group, _folder.StoreId, first, last, directory.Length, body.Length, crc);
        SideFile.Replace(
            _folder,
            GroupFolder.IndexName(first),
            new Content(header, directory, body),
            WriteFile,
            _open.Gate,
            () => _open.Forget(first));
    }

    /// <summary>
    /// Reads the directory of the index of the segment that begins there; false when it is missing or damaged.
    /// </summary>
    /// <exception cref="StorageRefusedException">It is another disk's, another group's, or of another format
    /// version.</exception>
    public bool TryReadDirectory(LogIndex first, out LogIndex last, out ReadOnlyMemory<byte> directory)
    {
        last = LogIndex.None;
        directory = default;
        while (_open.Pin(first) is { } open)
        {
            var header = open.Header;
            var bytes = GC.AllocateUninitializedArray<byte>(header.DirectoryBytes);
            if (TryReadPages(first, open, IndexHeader.DirectoryPage, 0, bytes, out var isCurrent))
            {
                last = header.Last;
                directory = bytes;
                return true;
            }

            if (isCurrent)
            {
                return false;
            }
        }

        return false;
    }

    /// <summary>
    /// Fills the span with the body's bytes from an offset on, and reads no more than the pages that hold them; false
    /// when the index is missing or damaged.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">The body is shorter.</exception>
    /// <exception cref="StorageRefusedException">It is another disk's, another group's, or of another format
    /// version.</exception>
    public bool TryReadBody(LogIndex first, long offset, Span<byte> into)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        while (_open.Pin(first) is { } open)
        {
            var header = open.Header;
            if (offset + into.Length > header.BodyBytes)
            {
                _open.Unpin(first, open, damage: null);
                throw new ArgumentOutOfRangeException(
                    nameof(offset),
                    $"Bytes {offset} to {offset + into.Length} of a body of {header.BodyBytes} bytes, "
                    + $"{_open.PathOf(first)}");
            }

            if (TryReadPages(first, open, header.BodyPage, offset, into, out var isCurrent))
            {
                return true;
            }

            if (isCurrent)
            {
                return false;
            }
        }

        return false;
    }

    /// <summary>Whether damage was found in this file since it was written; its owner makes it anew.</summary>
    public bool IsDamaged(LogIndex first) => _open.IsDamaged(first);

    /// <summary>The segments that have an index file, in rising order; some may turn out to be damaged.</summary>
    public IReadOnlyList<LogIndex> List() => _folder.List(GroupFolder.TryParseIndex);

    /// <summary>Deletes the file, if there is one. Readers that are inside read on.</summary>
    public void Delete(LogIndex first)
    {
        _folder.DeleteIfThere(_open.PathOf(first));

        // After the file: whoever opened it before has to look again.
        _open.Forget(first);
    }

    /// <summary>
    /// Checks a piece of a file from a cursor on (0: the beginning), without keeping what it reads. A file that is not
    /// there is intact.
    /// </summary>
    public ScrubPiece Verify(LogIndex first, long cursor, int maxBytes)
    {
        if (_open.Pin(first) is not { } open)
        {
            // Not there, or its header is bad, which is remembered by now.
            return IsDamaged(first) ? ScrubPiece.Damaged(IndexHeader.SizeBytes) : ScrubPiece.Nothing;
        }

        var page = Math.Max(IndexHeader.DirectoryPage, cursor);
        var piece = ScrubPiece.OfPages(page, open.Header.Pages, maxBytes);
        var damage = CheckedPages.Verify(open.File, open.Seed, page, piece.Pages);
        var isCurrent = _open.Unpin(first, open, damage);
        if (damage is null)
        {
            return piece;
        }

        // Damage of a file that was replaced meanwhile is no news.
        return isCurrent ? ScrubPiece.Damaged(piece.Bytes) : ScrubPiece.Nothing;
    }

    public void Dispose() => _open.Dispose();

    private static void WriteFile(IStorageFile file, Content content)
    {
        var seed = PagedFile.Begin(file, content.Header);
        CheckedPages.Write(file, seed, IndexHeader.DirectoryPage, content.Directory);
        CheckedPages.Write(file, seed, content.Header.BodyPage, content.Body);
    }

    /// <summary>Reads from a pinned file, and lets it go.</summary>
    private bool TryReadPages(
        LogIndex first, OpenIndex open, long firstPage, long offset, Span<byte> into, out bool isCurrent)
    {
        var damage = CheckedPages.Read(open.File, open.Seed, firstPage, offset, into);
        isCurrent = _open.Unpin(first, open, damage);
        return damage is null;
    }

    private readonly ref struct Content(IndexHeader header, ReadOnlySpan<byte> directory, ReadOnlySpan<byte> body)
    {
        public IndexHeader Header { get; } = header;

        public ReadOnlySpan<byte> Directory { get; } = directory;

        public ReadOnlySpan<byte> Body { get; } = body;
    }
}

/// <summary>
/// The first 4 KiB of an index file, little endian; the rest of the block is zero. Directory, then body follow in <see
/// cref="CheckedPages"/>, each from the beginning of a page:
/// <code>
///  0 "BRKRIDX1"          8 format version      12 CRC32C of all other bytes of the block
/// 16 group              20 CRC32C of directory and body        24 store id (16 bytes)
/// 40 first index        48 last index          56 bytes of the directory       60 bytes of the body
/// </code>
/// Entries 1 to 9 of group 3, a directory of 5 bytes, a body of 16:
/// <code>
/// 42 52 4B 52 49 44 58 31  01 00 00 00 .. .. .. ..  03 00 00 00 .. .. .. ..  (store id)
/// 01 00 00 00 00 00 00 00  09 00 00 00 00 00 00 00  05 00 00 00 10 00 00 00
/// </code>
/// </summary>
internal sealed record IndexHeader(
    GroupId Group, Guid StoreId, LogIndex First, LogIndex Last, int DirectoryBytes, int BodyBytes, uint ContentCrc32C)
    : IPagedHeader<IndexHeader>
{
    public const int SizeBytes = CheckedPages.PageBytes;

    /// <summary>Page 0 is this header.</summary>
    public const long DirectoryPage = 1;

    public static string Expected => "an index header with a matching checksum";

    public static ReadOnlySpan<byte> Magic => "BRKRIDX1"u8;

    public string FileName => GroupFolder.IndexName(First);

    public long BodyPage => DirectoryPage + CheckedPages.Count(DirectoryBytes);

    public long Pages => BodyPage + CheckedPages.Count(BodyBytes);

    public void Encode(Span<byte> block)
    {
        block.Clear();
        BinaryPrimitives.WriteInt32LittleEndian(block[16..], Group.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(block[20..], ContentCrc32C);
        StoreId.TryWriteBytes(block[24..]);
        BinaryPrimitives.WriteInt64LittleEndian(block[40..], First.Value);
        BinaryPrimitives.WriteInt64LittleEndian(block[48..], Last.Value);
        BinaryPrimitives.WriteInt32LittleEndian(block[56..], DirectoryBytes);
        BinaryPrimitives.WriteInt32LittleEndian(block[60..], BodyBytes);
        CheckedBlock.Seal(block, Magic);
    }

    /// <summary>Null when the block is damaged. An intact one of another disk, group or version is refused.</summary>
    public static IndexHeader? TryDecode(ReadOnlySpan<byte> block, string path, GroupId group, Guid storeId)
    {
        if (block.Length < SizeBytes || !CheckedBlock.IsIntact(block, Magic))
        {
            return null;
        }

        CheckedBlock.CheckVersion(block, path);
        var owner = new GroupId(BinaryPrimitives.ReadInt32LittleEndian(block[16..]));
        GroupFolder.CheckOwner(path, group, storeId, owner, new Guid(block.Slice(24, 16)));
        var directoryBytes = BinaryPrimitives.ReadInt32LittleEndian(block[56..]);
        var bodyBytes = BinaryPrimitives.ReadInt32LittleEndian(block[60..]);
        if (directoryBytes is < 0 or > Limits.SegmentIndexBytes || bodyBytes is < 0 or > Limits.SegmentIndexBytes)
        {
            return null;
        }

        return new IndexHeader(
            group,
            storeId,
            new LogIndex(BinaryPrimitives.ReadInt64LittleEndian(block[40..])),
            new LogIndex(BinaryPrimitives.ReadInt64LittleEndian(block[48..])),
            directoryBytes,
            bodyBytes,
            BinaryPrimitives.ReadUInt32LittleEndian(block[20..]));
    }
}
