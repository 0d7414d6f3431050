using System.Buffers.Binary;
using Broker.Domain;

namespace Broker.Storage;

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
