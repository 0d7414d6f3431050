using System.Buffers.Binary;
using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// The 64 bytes before each entry's body, little endian:
/// <code>
///  0 "BFR1"                     4 header CRC32C (nonce, then bytes 8-63)
///  8 body length               12 body CRC32C
/// 16 term                      24 index
/// 32 timestamp, Unix ms        40 durable floor
/// 48 truncation epoch          52 count
/// 56 kind  57-59 zero          60 header CRC32C of the previous frame
/// </code>
/// Entry 7 of term 2, body "hello" (then 3 bytes of padding):
/// <code>
/// 42 46 52 31 .. .. .. ..  05 00 00 00 4C BB 71 9A  02 00 00 00 00 00 00 00  07 00 00 00 00 00 00 00
/// .. .. .. .. .. .. .. ..  06 00 00 00 00 00 00 00  00 00 00 00 01 00 00 00  02 00 00 00 .. .. .. ..
/// 68 65 6C 6C 6F 00 00 00
/// </code>
/// The CRC begins with the segment's nonce, so a frame of another segment's life never passes; the previous frame's CRC
/// makes a chain, so a stale frame behind a newer one never passes.
/// </summary>
internal readonly record struct FrameHeader(
    int BodyBytes,
    uint BodyCrc32C,
    Term Term,
    LogIndex Index,
    long TimestampUnixMs,
    LogIndex DurableFloor,
    uint TruncationEpoch,
    int Count,
    EntryKind Kind,
    uint PreviousCrc32C)
{
    public const int SizeBytes = LogEntry.OverheadBytes;

    /// <summary>
    /// Frames begin at multiples of this, so that a search for headers needs to look at every eighth byte only.
    /// </summary>
    public const int AlignmentBytes = 8;

    private const int CrcAt = 4;
    private const int CrcFrom = 8;

    public static ReadOnlySpan<byte> Magic => "BFR1"u8;

    /// <summary>Bytes of a whole frame: header, body, padding.</summary>
    public static int FrameBytes(int bodyBytes) => (SizeBytes + bodyBytes + AlignmentBytes - 1) & -AlignmentBytes;

    /// <summary>The CRC state after a segment's nonce, from which its frame headers' CRCs continue.</summary>
    public static uint SeedOf(ulong nonce)
    {
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, nonce);
        return Crc32C.Compute(bytes);
    }

    /// <summary>Writes the header and returns its CRC, the next frame's <see cref="PreviousCrc32C"/>.</summary>
    public uint Encode(Span<byte> into, uint seed)
    {
        Magic.CopyTo(into);
        BinaryPrimitives.WriteInt32LittleEndian(into[8..], BodyBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(into[12..], BodyCrc32C);
        BinaryPrimitives.WriteInt64LittleEndian(into[16..], Term.Value);
        BinaryPrimitives.WriteInt64LittleEndian(into[24..], Index.Value);
        BinaryPrimitives.WriteInt64LittleEndian(into[32..], TimestampUnixMs);
        BinaryPrimitives.WriteInt64LittleEndian(into[40..], DurableFloor.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(into[48..], TruncationEpoch);
        BinaryPrimitives.WriteInt32LittleEndian(into[52..], Count);
        BinaryPrimitives.WriteUInt32LittleEndian(into[56..], (byte)Kind);
        BinaryPrimitives.WriteUInt32LittleEndian(into[60..], PreviousCrc32C);
        var crc = Crc32C.Compute(into[CrcFrom..SizeBytes], seed);
        BinaryPrimitives.WriteUInt32LittleEndian(into[CrcAt..], crc);
        return crc;
    }

    public static bool TryDecode(ReadOnlySpan<byte> from, uint seed, out FrameHeader header, out uint crc)
    {
        header = default;
        crc = 0;
        if (from.Length < SizeBytes || !from.StartsWith(Magic))
        {
            return false;
        }

        crc = BinaryPrimitives.ReadUInt32LittleEndian(from[CrcAt..]);
        if (crc != Crc32C.Compute(from[CrcFrom..SizeBytes], seed))
        {
            return false;
        }

        header = new FrameHeader(
            BinaryPrimitives.ReadInt32LittleEndian(from[8..]),
            BinaryPrimitives.ReadUInt32LittleEndian(from[12..]),
            new Term(BinaryPrimitives.ReadInt64LittleEndian(from[16..])),
            new LogIndex(BinaryPrimitives.ReadInt64LittleEndian(from[24..])),
            BinaryPrimitives.ReadInt64LittleEndian(from[32..]),
            new LogIndex(BinaryPrimitives.ReadInt64LittleEndian(from[40..])),
            BinaryPrimitives.ReadUInt32LittleEndian(from[48..]),
            BinaryPrimitives.ReadInt32LittleEndian(from[52..]),
            (EntryKind)from[56],
            BinaryPrimitives.ReadUInt32LittleEndian(from[60..]));
        return header.BodyBytes is >= 0 and <= Limits.EntryBytes;
    }
}
