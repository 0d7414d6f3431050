using System.Buffers.Binary;
using Broker.Domain;
using Google.Protobuf;

namespace Broker.Transport;

/// <summary>What a frame between peers holds.</summary>
internal enum PeerFrameKind : byte
{
    /// <summary>A PeerHello: the first frame of either direction.</summary>
    Hello = 1,

    /// <summary>A PeerRefusal, the answer to a hello that is not taken. The connection ends behind it.</summary>
    Refusal = 2,

    /// <summary>A PeerEnvelope.</summary>
    Envelope = 3,
}

/// <summary>What the bytes at the beginning of a buffer are.</summary>
internal enum PeerFrameStatus
{
    /// <summary>A frame that is not all there yet.</summary>
    Cut,

    /// <summary>A whole frame, as it was sent.</summary>
    Whole,

    /// <summary>Not what a peer sent: the connection is worth nothing any more.</summary>
    Garbled,
}

/// <summary>
/// The bytes on a connection between peers. Who dials sends the preamble first; then both sides send frames:
/// <code>
/// offset 0  length of the payload   u32
///        4  kind                    u8, and three bytes of zero
///        8  CRC32C of the payload   u32
///       12  CRC32C of bytes 0 to 11 u32
///       16  payload                 a message of peer.proto
/// </code>
/// Numbers are little-endian. The header has a checksum of its own, so that a length is believed before its payload is
/// there: a garbled one would have the reader take all that follows for payload. An empty envelope (a sign of life) is
/// <c>00 00 00 00  03 00 00 00  00 00 00 00</c> and the header's checksum.
/// </summary>
internal static class PeerFrame
{
    public const int HeaderBytes = 16;

    private const int KindAt = 4;
    private const int PayloadCrcAt = 8;
    private const int HeaderCrcAt = 12;

    /// <summary>No request of HTTP begins so.</summary>
    public static ReadOnlySpan<byte> Preamble => "BrkPeer\n"u8;

    /// <summary>Makes the header of a frame whose payload stands behind it already.</summary>
    public static void Seal(Span<byte> frame, PeerFrameKind kind)
    {
        var payload = frame[HeaderBytes..];
        Invariant.Check(payload.Length <= Limits.PeerFrameBytes, "a frame for a peer is within its limit");
        BinaryPrimitives.WriteInt32LittleEndian(frame, payload.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(frame[KindAt..], (uint)kind);
        BinaryPrimitives.WriteUInt32LittleEndian(frame[PayloadCrcAt..], Crc32C.Compute(payload));
        BinaryPrimitives.WriteUInt32LittleEndian(frame[HeaderCrcAt..], Crc32C.Compute(frame[..HeaderCrcAt]));
    }

    /// <summary>Writes a frame into a buffer, which grows when it must; answers the frame's length.</summary>
    public static int Write(PeerFrameKind kind, IMessage message, ref byte[] buffer)
    {
        var length = HeaderBytes + message.CalculateSize();
        if (buffer.Length < length)
        {
            buffer = new byte[Math.Max(length, 2 * buffer.Length)];
        }

        message.WriteTo(buffer.AsSpan(HeaderBytes, length - HeaderBytes));
        Seal(buffer.AsSpan(0, length), kind);
        return length;
    }

    /// <summary>Looks at what has come.</summary>
    /// <param name="bytes">From the beginning of a frame on.</param>
    /// <param name="kind">Of a whole frame its kind.</param>
    /// <param name="lengthBytes">
    /// How many bytes the frame has; of one that is cut, how many must be there for another look. 0: garbled.
    /// </param>
    public static PeerFrameStatus Look(ReadOnlySpan<byte> bytes, out PeerFrameKind kind, out int lengthBytes)
    {
        (kind, lengthBytes) = (0, HeaderBytes);
        if (bytes.Length < HeaderBytes)
        {
            return PeerFrameStatus.Cut;
        }

        var payloadBytes = BinaryPrimitives.ReadUInt32LittleEndian(bytes);
        var number = BinaryPrimitives.ReadUInt32LittleEndian(bytes[KindAt..]);
        if (Crc32C.Compute(bytes[..HeaderCrcAt]) != BinaryPrimitives.ReadUInt32LittleEndian(bytes[HeaderCrcAt..])
            || payloadBytes > Limits.PeerFrameBytes
            || number is < (uint)PeerFrameKind.Hello or > (uint)PeerFrameKind.Envelope)
        {
            lengthBytes = 0;
            return PeerFrameStatus.Garbled;
        }

        lengthBytes = HeaderBytes + (int)payloadBytes;
        if (bytes.Length < lengthBytes)
        {
            return PeerFrameStatus.Cut;
        }

        if (Crc32C.Compute(bytes[HeaderBytes..lengthBytes])
            != BinaryPrimitives.ReadUInt32LittleEndian(bytes[PayloadCrcAt..]))
        {
            lengthBytes = 0;
            return PeerFrameStatus.Garbled;
        }

        kind = (PeerFrameKind)number;
        return PeerFrameStatus.Whole;
    }
}
