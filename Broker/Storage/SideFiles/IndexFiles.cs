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
public sealed partial class IndexFiles : IDisposable
{
    /// <summary>
    /// Readers of old entries move through one segment each; more of them than this pay an open (10 µs) a look-up.
    /// </summary>
    public const int DefaultOpenFiles = 16;

    private readonly IStorageDevice _device;
    private readonly string _folder;
    private readonly GroupId _group;
    private readonly Guid _storeId;
    private readonly ILogger _logger;
    private readonly int _openFiles;

    /// <summary>Guards everything below. Never held while bytes are read.</summary>
    private readonly Lock _gate = new();
    private readonly Dictionary<LogIndex, OpenIndex> _open = [];
    private readonly HashSet<LogIndex> _damaged = [];
    private long _changes;
    private long _uses;
    private bool _disposed;

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
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(openFiles, 1);
        _device = device;
        _folder = folder;
        _group = group;
        _storeId = storeId;
        _logger = logger;
        _openFiles = openFiles;
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
        var header = new IndexHeader(_group, _storeId, first, last, directory.Length, body.Length, crc);
        SideFile.Replace(
            _device,
            _folder,
            GroupFolder.IndexName(first),
            new Content(header, directory, body),
            WriteFile,
            _gate,
            () => Forget(first),
            _logger);
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
        while (Pin(first) is { } open)
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
        while (Pin(first) is { } open)
        {
            var header = open.Header;
            if (offset + into.Length > header.BodyBytes)
            {
                Unpin(first, open, damage: null);
                throw new ArgumentOutOfRangeException(
                    nameof(offset),
                    $"Bytes {offset} to {offset + into.Length} of a body of {header.BodyBytes} bytes, "
                    + $"{PathOf(first)}");
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
    public bool IsDamaged(LogIndex first)
    {
        lock (_gate)
        {
            return _damaged.Contains(first);
        }
    }

    /// <summary>The segments that have an index file, in rising order; some may turn out to be damaged.</summary>
    public IReadOnlyList<LogIndex> List()
    {
        var indexes = new List<LogIndex>();
        foreach (var name in _device.List(_folder))
        {
            if (GroupFolder.TryParseIndex(name, out var first))
            {
                indexes.Add(first);
            }
        }

        return indexes;
    }

    /// <summary>Deletes the file, if there is one. Readers that are inside read on.</summary>
    public void Delete(LogIndex first)
    {
        var path = PathOf(first);
        if (_device.Exists(path))
        {
            _device.Delete(path);
        }

        // After the file: whoever opened it before has to look again.
        lock (_gate)
        {
            Forget(first);
        }
    }

    /// <summary>
    /// Checks a piece of a file from a cursor on (0: the beginning), without keeping what it reads. A file that is not
    /// there is intact.
    /// </summary>
    public ScrubPiece Verify(LogIndex first, long cursor, int maxBytes)
    {
        if (Pin(first) is not { } open)
        {
            // Not there, or its header is bad, which is remembered by now.
            return IsDamaged(first) ? ScrubPiece.Damaged(IndexHeader.SizeBytes) : ScrubPiece.Nothing;
        }

        var page = Math.Max(IndexHeader.DirectoryPage, cursor);
        var piece = ScrubPiece.OfPages(page, open.Header.Pages, maxBytes);
        var damage = SideFile.Verify(open.File, open.Seed, page, piece.Pages);
        var isCurrent = Unpin(first, open, damage);
        if (damage is null)
        {
            return piece;
        }

        // Damage of a file that was replaced meanwhile is no news.
        return isCurrent ? ScrubPiece.Damaged(piece.Bytes) : ScrubPiece.Nothing;
    }

    public void Dispose()
    {
        lock (_gate)
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

    private static void WriteFile(IStorageFile file, Content content)
    {
        var header = content.Header;
        var block = new byte[IndexHeader.SizeBytes];
        header.Encode(block);

        // All of the space at once: a full disk shows before anything is written.
        file.Allocate(header.Pages * CheckedPages.PageBytes);
        file.Write(0, block);
        var seed = CheckedBlock.CrcIn(block);
        CheckedPages.Write(file, seed, IndexHeader.DirectoryPage, content.Directory);
        CheckedPages.Write(file, seed, header.BodyPage, content.Body);
    }
}
