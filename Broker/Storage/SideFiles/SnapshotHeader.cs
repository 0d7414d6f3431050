using System.Buffers.Binary;
using Broker.Domain;

namespace Broker.Storage;

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
