using System.Buffers.Binary;
using Broker.Domain;

namespace Broker.Storage;

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
