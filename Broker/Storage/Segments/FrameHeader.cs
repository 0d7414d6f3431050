using System.Buffers.Binary;
using System.Numerics;
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

/// <summary>
/// Frames on their way into a segment's file, for one gathered write: headers and padding in memory of its own, bodies
/// as they are. It keeps its memory, so one that is used again and again allocates nothing.
/// </summary>
internal sealed class FrameBatch
{
    private const int LeastHeaders = 64;

    /// <summary>What padding, the space ahead and the space that a truncation wipes are written from.</summary>
    public static readonly ReadOnlyMemory<byte> Zeros = new byte[1024 * 1024];

    private readonly List<ReadOnlyMemory<byte>> _parts = [];
    private readonly List<FramePosition> _frames = [];
    private byte[] _headers = [];
    private int _headerBytes;

    /// <summary>Where the first frame begins.</summary>
    public long From { get; private set; }

    /// <summary>Where the next frame goes.</summary>
    public long To { get; private set; }

    public long SizeBytes => To - From;

    /// <summary>What is to be written at <see cref="From"/>.</summary>
    public IReadOnlyList<ReadOnlyMemory<byte>> Parts => _parts;

    public List<FramePosition> Frames => _frames;

    /// <summary>Forgets what it had; what comes is for this place in the file.</summary>
    public void Begin(long from)
    {
        _parts.Clear();
        _frames.Clear();
        _headerBytes = 0;
        From = To = from;
    }

    /// <summary>Makes room for the headers of so many frames at once.</summary>
    public void Reserve(int frames)
    {
        if (_headers.Length - _headerBytes < frames * FrameHeader.SizeBytes)
        {
            // Parts that were added keep the memory that they are in.
            _headers = new byte[BitOperations.RoundUpToPowerOf2((uint)(frames * FrameHeader.SizeBytes))];
            _headerBytes = 0;
        }
    }

    /// <summary>Adds an entry behind the last one; returns its header's CRC, which the next frame names.</summary>
    /// <param name="entry">The entry, whose body must not change before the write.</param>
    /// <param name="durable">The last index known durable: a proof against cutting it off.</param>
    /// <param name="truncationEpoch">The truncations so far.</param>
    /// <param name="previousCrc32C">The header CRC of the frame before.</param>
    /// <param name="seed">That of the segment.</param>
    public uint Add(LogEntry entry, LogIndex durable, uint truncationEpoch, uint previousCrc32C, uint seed)
    {
        if (_headerBytes == _headers.Length)
        {
            Reserve(LeastHeaders);
        }

        var frame = new FrameHeader(
            entry.Body.Length,
            entry.BodyCrc32C,
            entry.Term,
            entry.Index,
            entry.TimestampUnixMs,
            durable,
            truncationEpoch,
            entry.Count,
            entry.Kind,
            previousCrc32C);
        var header = _headers.AsMemory(_headerBytes, FrameHeader.SizeBytes);
        _headerBytes += FrameHeader.SizeBytes;
        var crc = frame.Encode(header.Span, seed);
        _frames.Add(new FramePosition(To, entry.Body.Length));
        _parts.Add(header);
        if (entry.Body.Length > 0)
        {
            _parts.Add(entry.Body);
        }

        var frameBytes = FrameHeader.FrameBytes(entry.Body.Length);
        AddZeros(frameBytes - entry.SizeBytes);
        To += frameBytes;
        return crc;
    }

    /// <summary>Adds zeros behind what was added; frames that come later overwrite them.</summary>
    public void AddZeros(long sizeBytes)
    {
        for (var left = sizeBytes; left > 0; left -= Zeros.Length)
        {
            _parts.Add(Zeros[..(int)Math.Min(Zeros.Length, left)]);
        }
    }
}
