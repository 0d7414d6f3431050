using System.Buffers.Binary;
using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// The frame that segment headers, vote slots and the node record share, in every format version: bytes 0-7 say what it
/// is, 8-11 the format version, 12-15 the CRC32C of all other bytes. So a block of a later version is recognized as
/// such, not taken for damage.
/// </summary>
internal static class CheckedBlock
{
    public const int PrefixBytes = 16;

    /// <summary>The format version of whatever does not name its own.</summary>
    public const uint FormatVersion = 1;

    private const int VersionAt = 8;
    private const int CrcAt = 12;

    public static void Seal(Span<byte> block, ReadOnlySpan<byte> magic, uint version = FormatVersion)
    {
        magic.CopyTo(block);
        BinaryPrimitives.WriteUInt32LittleEndian(block[VersionAt..], version);
        BinaryPrimitives.WriteUInt32LittleEndian(block[CrcAt..], CrcOf(block));
    }

    public static bool IsIntact(ReadOnlySpan<byte> block, ReadOnlySpan<byte> magic) =>
        block.Length >= PrefixBytes && block.StartsWith(magic) && CrcIn(block) == CrcOf(block);

    /// <summary>The checksum that a sealed block holds.</summary>
    public static uint CrcIn(ReadOnlySpan<byte> block) => BinaryPrimitives.ReadUInt32LittleEndian(block[CrcAt..]);

    /// <summary>Refuses an intact block of another format version.</summary>
    public static void CheckVersion(ReadOnlySpan<byte> block, string path, uint expected = FormatVersion)
    {
        var version = BinaryPrimitives.ReadUInt32LittleEndian(block[VersionAt..]);
        if (version != expected)
        {
            throw new StorageRefusedException(
                $"{path} has format version {version}; this broker reads version {expected}. "
                + "Start the broker version that wrote it; nothing was changed.");
        }
    }

    private static uint CrcOf(ReadOnlySpan<byte> block) =>
        Crc32C.Compute(block[PrefixBytes..], Crc32C.Compute(block[..CrcAt]));
}
