using System.Buffers.Binary;
using Broker.Domain;

namespace Broker.Storage;

/// <summary>What a segment's file looks like before its frames are read.</summary>
internal enum SegmentFileState
{
    Sound,
    Missing,

    /// <summary>It ends before the capacity that its header says.</summary>
    Short,

    /// <summary>The header is damaged, or cannot be read.</summary>
    BadHeader,
}

/// <summary>How a segment's file comes, what its first block and its length tell of it, and how it goes.</summary>
internal static class SegmentFile
{
    private const string NextName = "segment" + GroupFolder.TemporarySuffix;

    /// <summary>
    /// Makes an empty segment; header, space and name are durable when it returns. On a full disk nothing is left.
    /// </summary>
    public static IStorageFile Create(GroupFolder folder, string path, in SegmentHeader header)
    {
        var temporary = folder.PathOf(NextName);
        folder.DeleteIfThere(temporary);
        var file = folder.Device.Open(temporary, create: true);
        try
        {
            Begin(file, header);
            file.Sync();
        }
        catch (Exception failure)
        {
            file.Dispose();
            if (failure is DiskFullException)
            {
                folder.Device.Delete(temporary);
            }

            throw;
        }

        try
        {
            folder.Device.Rename(temporary, path);
            folder.Sync();
            return file;
        }
        catch (IOException failure)
        {
            // The name may or may not be there: only a restart can tell, even where the reason is a full disk.
            file.Dispose();
            throw new StorageException($"{path} could not be given its name: {failure.Message}", failure);
        }
    }

    /// <summary>Takes the space of a new file, and writes the header into it; the caller syncs.</summary>
    public static void Begin(IStorageFile file, in SegmentHeader header)
    {
        file.Allocate(header.CapacityBytes);
        WriteHeader(file, header);
    }

    public static void WriteHeader(IStorageFile file, in SegmentHeader header)
    {
        var block = new byte[SegmentHeader.SizeBytes];
        header.Encode(block);
        file.Write(0, block);
    }

    /// <summary>Deletes the files of segments that left the log, the newest first; durable when it returns.</summary>
    public static void Delete(GroupFolder folder, List<Segment> removed)
    {
        for (var i = removed.Count - 1; i >= 0; i--)
        {
            folder.DeleteIfThere(removed[i].Path);
        }

        folder.Sync();
    }

    /// <exception cref="StorageRefusedException">It is another disk's, another group's, or of another format
    /// version.</exception>
    public static SegmentFileState Inspect(GroupFolder folder, string path, out SegmentHeader header)
    {
        header = default;
        if (!folder.Device.Exists(path))
        {
            return SegmentFileState.Missing;
        }

        using var file = folder.Device.Open(path, create: false);
        var block = new byte[SegmentHeader.SizeBytes];
        var count = TryRead(file, block);
        if (!SegmentHeader.TryDecode(block.AsSpan(0, count), path, out header))
        {
            return SegmentFileState.BadHeader;
        }

        GroupFolder.CheckOwner(path, folder.Group, folder.StoreId, header.Group, header.StoreId);
        if (Path.GetFileName(path) != GroupFolder.SegmentName(header.First))
        {
            return SegmentFileState.BadHeader;
        }

        return file.Length < header.CapacityBytes ? SegmentFileState.Short : SegmentFileState.Sound;
    }

    private static int TryRead(IStorageFile file, byte[] block)
    {
        try
        {
            return file.Read(0, block);
        }
        catch (IOException)
        {
            // A block that the disk cannot read is as good as a damaged one.
            return 0;
        }
    }
}

/// <summary>
/// The first 4 KiB of a segment file, little endian; the rest of the block is zero:
/// <code>
///  0 "BRKRSEG1"          8 format version      12 CRC32C of all other bytes of the block
/// 16 group              20 truncation epoch    24 store id (16 bytes)
/// 40 first index        48 nonce               56 header CRC32C of the frame before the first index
/// 60 what the successor names as the CRC32C of the frame before it, when this file replaces a damaged one
/// 64 capacity in bytes  72 last index when this file replaces a damaged one; else 0
/// 80 last index when this file takes the place of several; else 0: files of what it holds, behind it, are left over
/// 88 through which index the entries are hollow; else 0
/// </code>
/// The first segment of group 3:
/// <code>
/// 42 52 4B 52 53 45 47 31  02 00 00 00 .. .. .. ..  03 00 00 00 00 00 00 00  (store id)
/// 01 00 00 00 00 00 00 00  (nonce)                  00 00 00 00 00 00 00 00  00 00 40 00 00 00 00 00
/// 00 00 00 00 00 00 00 00
/// </code>
/// A file gets its final name only after this block and its whole length are durable, so a bad block is damage, never a
/// torn write.
/// <para>One with hollow entries begins with "BRKRSEGH" instead; see <see cref="Seed"/>. A version that does not know
/// it takes the block for a damaged one, and mends the segment.</para>
/// </summary>
internal readonly record struct SegmentHeader(
    GroupId Group,
    Guid StoreId,
    LogIndex First,
    ulong Nonce,
    uint TruncationEpoch,
    uint PreviousCrc32C,
    long CapacityBytes,
    LogIndex ReplacedLast = default,
    uint SuccessorCrc32C = 0,
    LogIndex MergedLast = default,
    LogIndex HollowThrough = default)
{
    public const int SizeBytes = 4096;
    public const uint FormatVersion = 2;

    public static ReadOnlySpan<byte> Magic => "BRKRSEG1"u8;

    private static ReadOnlySpan<byte> HollowMagic => "BRKRSEGH"u8;

    private bool HasHollow => HollowThrough > LogIndex.None;

    /// <summary>
    /// Seeds the CRC of every frame header. Where only a hollow segment's header is lost, its frames must not be taken
    /// for those of whole entries.
    /// </summary>
    public uint Seed => FrameHeader.SeedOf(HasHollow ? ~Nonce : Nonce);

    /// <summary>What the vote file is told when this segment begins, or is appended to again.</summary>
    public ActiveSegment AsActive() => new(First, Nonce, CapacityBytes);

    public void Encode(Span<byte> block)
    {
        block.Clear();
        BinaryPrimitives.WriteInt32LittleEndian(block[16..], Group.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(block[20..], TruncationEpoch);
        StoreId.TryWriteBytes(block[24..]);
        BinaryPrimitives.WriteInt64LittleEndian(block[40..], First.Value);
        BinaryPrimitives.WriteUInt64LittleEndian(block[48..], Nonce);
        BinaryPrimitives.WriteUInt32LittleEndian(block[56..], PreviousCrc32C);
        BinaryPrimitives.WriteUInt32LittleEndian(block[60..], SuccessorCrc32C);
        BinaryPrimitives.WriteInt64LittleEndian(block[64..], CapacityBytes);
        BinaryPrimitives.WriteInt64LittleEndian(block[72..], ReplacedLast.Value);
        BinaryPrimitives.WriteInt64LittleEndian(block[80..], MergedLast.Value);
        BinaryPrimitives.WriteInt64LittleEndian(block[88..], HollowThrough.Value);
        CheckedBlock.Seal(block, HasHollow ? HollowMagic : Magic, FormatVersion);
    }

    /// <summary>False when the block is damaged.</summary>
    public static bool TryDecode(ReadOnlySpan<byte> block, string path, out SegmentHeader header)
    {
        header = default;
        if (block.Length < SizeBytes)
        {
            return false;
        }

        if (!CheckedBlock.IsIntact(block[..SizeBytes], Magic)
            && !CheckedBlock.IsIntact(block[..SizeBytes], HollowMagic))
        {
            return false;
        }

        CheckedBlock.CheckVersion(block, path, FormatVersion);
        header = new SegmentHeader(
            new GroupId(BinaryPrimitives.ReadInt32LittleEndian(block[16..])),
            new Guid(block.Slice(24, 16)),
            new LogIndex(BinaryPrimitives.ReadInt64LittleEndian(block[40..])),
            BinaryPrimitives.ReadUInt64LittleEndian(block[48..]),
            BinaryPrimitives.ReadUInt32LittleEndian(block[20..]),
            BinaryPrimitives.ReadUInt32LittleEndian(block[56..]),
            BinaryPrimitives.ReadInt64LittleEndian(block[64..]),
            new LogIndex(BinaryPrimitives.ReadInt64LittleEndian(block[72..])),
            BinaryPrimitives.ReadUInt32LittleEndian(block[60..]),
            new LogIndex(BinaryPrimitives.ReadInt64LittleEndian(block[80..])),
            new LogIndex(BinaryPrimitives.ReadInt64LittleEndian(block[88..])));
        return true;
    }
}
