using System.Buffers;
using System.Buffers.Binary;
using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// <c>{first index}.pos</c> beside a sealed segment: what the log must know of it, so that a start need not read the
/// segment, and can do without it when it is damaged. Little endian:
/// <code>
///  0 "BRKRPOS1"          8 format version      12 CRC32C of all other bytes before the lengths
/// 16 group              20 truncation epoch    24 store id (16 bytes)
/// 40 first index        48 the segment's nonce 56 header CRC32C of the frame before the first index
/// 60 what the successor names as the CRC32C of the frame before it
/// 64 the segment's capacity in bytes           72 last index         80 where its last frame ends
/// 88 term runs          92 CRC32C of the lengths
/// 96 per term run: first index, term; then per entry the length of its body, int32
/// </code>
/// Entries 1 and 2 of term 4, bodies of 5 and 0 bytes, in the first segment of group 3:
/// <code>
///  0: 42 52 4B 52 50 4F 53 31  01 00 00 00 .. .. .. ..  03 00 00 00 00 00 00 00  (store id)
/// 40: 01 00 00 00 00 00 00 00  (nonce)                  00 00 00 00 .. .. .. ..  00 00 40 00 00 00 00 00
/// 72: 02 00 00 00 00 00 00 00  88 10 00 00 00 00 00 00  01 00 00 00 .. .. .. ..
/// 96: 01 00 00 00 00 00 00 00  04 00 00 00 00 00 00 00  05 00 00 00  00 00 00 00
/// </code>
/// All of it can be made anew from a sound segment.
/// </summary>
internal static class PositionsFile
{
    private const int FixedBytes = 96;
    private const int RunBytes = 2 * sizeof(long);

    public static ReadOnlySpan<byte> Magic => "BRKRPOS1"u8;

    public static string PathOf(GroupFolder folder, LogIndex first) =>
        folder.PathOf(GroupFolder.PositionsName(first));

    /// <summary>Writes the file; durable when it returns.</summary>
    public static void Write(GroupFolder folder, SealedMetadata known, FramePositions positions)
    {
        var sizeBytes = FixedBytes + (known.Terms.Count * RunBytes) + (known.Count * sizeof(int));
        var buffer = ArrayPool<byte>.Shared.Rent(sizeBytes);
        try
        {
            var bytes = buffer.AsSpan(0, sizeBytes);
            bytes.Clear();
            Encode(known, positions, bytes);
            SideFile.Replace<ReadOnlySpan<byte>>(
                folder,
                GroupFolder.PositionsName(known.Header.First),
                bytes,
                static (file, content) => file.Write(0, content),
                new Lock(),
                static () => { });
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>Everything but the lengths; null when the file is missing or damaged.</summary>
    public static SealedMetadata? TryReadDirectory(GroupFolder folder, LogIndex first)
    {
        var path = PathOf(folder, first);
        using var file = SideFile.TryOpen(folder, path);
        return file is null ? null : TryReadDirectory(folder, path, file);
    }

    /// <summary>
    /// Where the frames lie; null when the file is missing or damaged, or is not that of the segment.
    /// </summary>
    public static FramePositions? TryReadPositions(GroupFolder folder, Segment segment)
    {
        var path = PathOf(folder, segment.First);
        using var file = SideFile.TryOpen(folder, path);
        if (file is null
            || TryReadDirectory(folder, path, file) is not { } known
            || known.Header.Nonce != segment.Header.Nonce || known.Last != segment.Last)
        {
            return null;
        }

        var bytes = GC.AllocateUninitializedArray<byte>(known.Count * sizeof(int));
        Span<byte> crc = stackalloc byte[sizeof(uint)];
        if (!TryRead(file, 92, crc) || !TryRead(file, FixedBytes + (known.Terms.Count * RunBytes), bytes)
            || Crc32C.Compute(bytes) != BinaryPrimitives.ReadUInt32LittleEndian(crc))
        {
            return null;
        }

        var positions = new FramePositions();
        for (var at = 0; at < bytes.Length; at += sizeof(int))
        {
            positions.AddNext(BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(at)));
        }

        return positions.EndOffset == known.TailOffset ? positions : null;
    }

    private static void Encode(SealedMetadata known, FramePositions positions, Span<byte> bytes)
    {
        var directory = bytes[..(FixedBytes + (known.Terms.Count * RunBytes))];
        var lengths = bytes[directory.Length..];
        for (var i = 0; i < known.Count; i++)
        {
            BinaryPrimitives.WriteInt32LittleEndian(lengths[(i * sizeof(int))..], positions[i].BodyBytes);
        }

        var header = known.Header;
        BinaryPrimitives.WriteInt32LittleEndian(directory[16..], header.Group.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(directory[20..], header.TruncationEpoch);
        header.StoreId.TryWriteBytes(directory[24..]);
        BinaryPrimitives.WriteInt64LittleEndian(directory[40..], header.First.Value);
        BinaryPrimitives.WriteUInt64LittleEndian(directory[48..], header.Nonce);
        BinaryPrimitives.WriteUInt32LittleEndian(directory[56..], header.PreviousCrc32C);
        BinaryPrimitives.WriteUInt32LittleEndian(directory[60..], known.SuccessorCrc32C);
        BinaryPrimitives.WriteInt64LittleEndian(directory[64..], header.CapacityBytes);
        BinaryPrimitives.WriteInt64LittleEndian(directory[72..], known.Last.Value);
        BinaryPrimitives.WriteInt64LittleEndian(directory[80..], known.TailOffset);
        BinaryPrimitives.WriteInt32LittleEndian(directory[88..], known.Terms.Count);
        BinaryPrimitives.WriteUInt32LittleEndian(directory[92..], Crc32C.Compute(lengths));
        for (var i = 0; i < known.Terms.Count; i++)
        {
            var run = directory[(FixedBytes + (i * RunBytes))..];
            BinaryPrimitives.WriteInt64LittleEndian(run, known.Terms[i].First.Value);
            BinaryPrimitives.WriteInt64LittleEndian(run[sizeof(long)..], known.Terms[i].Term.Value);
        }

        CheckedBlock.Seal(directory, Magic);
    }

    private static SealedMetadata? TryReadDirectory(GroupFolder folder, string path, IStorageFile file)
    {
        Span<byte> start = stackalloc byte[FixedBytes];
        if (!TryRead(file, 0, start) || !start.StartsWith(Magic))
        {
            return null;
        }

        var runCount = BinaryPrimitives.ReadInt32LittleEndian(start[88..]);
        if (runCount < 1 || FixedBytes + ((long)runCount * RunBytes) > file.Length)
        {
            return null;
        }

        var directory = new byte[FixedBytes + (runCount * RunBytes)];
        if (!TryRead(file, 0, directory) || !CheckedBlock.IsIntact(directory, Magic))
        {
            return null;
        }

        CheckedBlock.CheckVersion(directory, path);
        var known = Decode(directory);
        GroupFolder.CheckOwner(path, folder.Group, folder.StoreId, known.Header.Group, known.Header.StoreId);
        var isNamedSo = Path.GetFileName(path) == GroupFolder.PositionsName(known.Header.First);
        return isNamedSo && file.Length == directory.Length + ((long)known.Count * sizeof(int)) ? known : null;
    }

    private static SealedMetadata Decode(ReadOnlySpan<byte> directory)
    {
        var header = new SegmentHeader(
            new GroupId(BinaryPrimitives.ReadInt32LittleEndian(directory[16..])),
            new Guid(directory.Slice(24, 16)),
            new LogIndex(BinaryPrimitives.ReadInt64LittleEndian(directory[40..])),
            BinaryPrimitives.ReadUInt64LittleEndian(directory[48..]),
            BinaryPrimitives.ReadUInt32LittleEndian(directory[20..]),
            BinaryPrimitives.ReadUInt32LittleEndian(directory[56..]),
            BinaryPrimitives.ReadInt64LittleEndian(directory[64..]));
        var runs = new TermRun[(directory.Length - FixedBytes) / RunBytes];
        for (var i = 0; i < runs.Length; i++)
        {
            var run = directory[(FixedBytes + (i * RunBytes))..];
            runs[i] = new TermRun(
                new LogIndex(BinaryPrimitives.ReadInt64LittleEndian(run)),
                new Term(BinaryPrimitives.ReadInt64LittleEndian(run[sizeof(long)..])));
        }

        return new SealedMetadata(
            header,
            new LogIndex(BinaryPrimitives.ReadInt64LittleEndian(directory[72..])),
            BinaryPrimitives.ReadUInt32LittleEndian(directory[60..]),
            BinaryPrimitives.ReadInt64LittleEndian(directory[80..]),
            runs);
    }

    private static bool TryRead(IStorageFile file, long offset, Span<byte> into)
    {
        try
        {
            return file.Read(offset, into) == into.Length;
        }
        catch (IOException)
        {
            // A block that the disk cannot read is as good as a damaged one: the caller scans the segment instead.
            return false;
        }
    }
}

/// <summary>
/// Where the frames of a log's sealed segments lie: written beside the segment at its seal, taken into memory when they
/// are wanted, and made anew from the segment when their file is missing or bad.
/// </summary>
internal sealed class SealedPositions(GroupFolder folder, VoteFile vote, SegmentSet segments)
{
    /// <summary>
    /// Held while positions files and the segments that they describe change, so that neither a reader nor a repair
    /// writes one for a segment that is appended to again. Taken before the lock of <see cref="SegmentSet"/>.
    /// </summary>
    public Lock Gate { get; } = new();

    /// <summary>Writes the file of a segment that is sealed; a full disk only makes the next start slower.</summary>
    public void Write(Segment segment, FramePositions positions)
    {
        lock (Gate)
        {
            try
            {
                PositionsFile.Write(folder, segments.MetadataOf(segment), positions);
            }
            catch (DiskFullException failure)
            {
                StorageEvents.PositionsNotWritten(folder.Logger, failure, folder.Group, segment.Path);
            }
        }
    }

    /// <summary>For readers and repair: the file is a help only, so its failure is no failure of the log.</summary>
    public void Rewrite(SealedMetadata known, FramePositions positions)
    {
        try
        {
            PositionsFile.Write(folder, known, positions);
        }
        catch (IOException failure)
        {
            StorageEvents.PositionsNotWritten(
                folder.Logger, failure, folder.Group, folder.PathOf(GroupFolder.SegmentName(known.Header.First)));
        }
    }

    /// <summary>Takes a segment's positions into memory: from their file, or from the segment itself.</summary>
    /// <exception cref="StorageCorruptException">Both are damaged; the segment is marked.</exception>
    public void Load(Segment segment)
    {
        lock (Gate)
        {
            if (segment.IsRemoved || segment.Positions is not null)
            {
                return;
            }

            var positions = PositionsFile.TryReadPositions(folder, segment) ?? Scan(segment) ?? throw Lost(segment);
            segments.Load(segment, positions);
        }
    }

    /// <summary>
    /// Checks the file of a segment. A damaged one, or one that a full disk had no room for, is made anew at once.
    /// </summary>
    public ScrubPiece Verify(LogIndex first)
    {
        lock (Gate)
        {
            if (segments.FindSealed(first) is not { } segment)
            {
                return ScrubPiece.Nothing;
            }

            var path = PositionsFile.PathOf(folder, first);
            var exists = folder.Device.Exists(path);
            var bytes = exists ? (int)folder.Device.Length(path) : 0;
            if (PositionsFile.TryReadPositions(folder, segment) is not null)
            {
                return new ScrubPiece(ScrubPiece.End, bytes, IsIntact: true);
            }

            if (Scan(segment) is null)
            {
                _ = Lost(segment);
            }

            return exists ? ScrubPiece.Damaged(bytes) : ScrubPiece.Nothing;
        }
    }

    /// <summary>Makes the positions anew from the segment; null when it is damaged.</summary>
    private FramePositions? Scan(Segment segment)
    {
        if (!folder.Device.Exists(segment.Path))
        {
            return null;
        }

        using var file = folder.Device.Open(segment.Path, create: false);
        var scan = FrameScan.Run(file, segment.Header, vote.Current);
        if (scan.Positions.Count != segment.Count)
        {
            return null;
        }

        StorageEvents.PositionsRebuilt(folder.Logger, folder.Group, segment.Path);
        if (segment.IsSealed)
        {
            Rewrite(segment.Describe(scan.Terms.Current), scan.Positions);
        }

        return scan.Positions;
    }

    private StorageCorruptException Lost(Segment segment) => segments.Damaged(
        segment, SegmentHeader.SizeBytes, "frames, as no positions file says where they lie");
}
