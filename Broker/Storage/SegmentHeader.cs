using System.Buffers.Binary;
using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// The first 4 KiB of a segment file, little endian; the rest of the block is zero:
/// <code>
///  0 "BRKRSEG1"          8 format version      12 CRC32C of all other bytes of the block
/// 16 group              20 truncation epoch    24 store id (16 bytes)
/// 40 first index        48 nonce               56 header CRC32C of the frame before the first index
/// 60 zero               64 capacity in bytes
/// </code>
/// The first segment of group 3:
/// <code>
/// 42 52 4B 52 53 45 47 31  01 00 00 00 .. .. .. ..  03 00 00 00 00 00 00 00  (store id)
/// 01 00 00 00 00 00 00 00  (nonce)                  00 00 00 00 00 00 00 00  00 00 40 00 00 00 00 00
/// </code>
/// A file gets its final name only after this block and its whole length are durable, so a bad block is damage, never a
/// torn write.
/// </summary>
internal readonly record struct SegmentHeader(
    GroupId Group,
    Guid StoreId,
    LogIndex First,
    ulong Nonce,
    uint TruncationEpoch,
    uint PreviousCrc32C,
    long CapacityBytes)
{
    public const int SizeBytes = 4096;

    public static ReadOnlySpan<byte> Magic => "BRKRSEG1"u8;

    public void Encode(Span<byte> block)
    {
        block.Clear();
        BinaryPrimitives.WriteInt32LittleEndian(block[16..], Group.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(block[20..], TruncationEpoch);
        StoreId.TryWriteBytes(block[24..]);
        BinaryPrimitives.WriteInt64LittleEndian(block[40..], First.Value);
        BinaryPrimitives.WriteUInt64LittleEndian(block[48..], Nonce);
        BinaryPrimitives.WriteUInt32LittleEndian(block[56..], PreviousCrc32C);
        BinaryPrimitives.WriteInt64LittleEndian(block[64..], CapacityBytes);
        CheckedBlock.Seal(block, Magic);
    }

    public static SegmentHeader Decode(ReadOnlySpan<byte> block, string path)
    {
        if (block.Length < SizeBytes || !CheckedBlock.IsIntact(block[..SizeBytes], Magic))
        {
            throw new StorageCorruptException(path, 0, "a segment header with a matching checksum");
        }

        CheckedBlock.CheckVersion(block, path);
        return new SegmentHeader(
            new GroupId(BinaryPrimitives.ReadInt32LittleEndian(block[16..])),
            new Guid(block.Slice(24, 16)),
            new LogIndex(BinaryPrimitives.ReadInt64LittleEndian(block[40..])),
            BinaryPrimitives.ReadUInt64LittleEndian(block[48..]),
            BinaryPrimitives.ReadUInt32LittleEndian(block[20..]),
            BinaryPrimitives.ReadUInt32LittleEndian(block[56..]),
            BinaryPrimitives.ReadInt64LittleEndian(block[64..]));
    }
}
