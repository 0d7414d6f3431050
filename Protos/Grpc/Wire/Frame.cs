using System.Buffers;
using System.Buffers.Binary;
using Grpc.Core;

namespace Grpc.Wire;

/// <summary>
/// One length-prefixed message: a flag byte (1: compressed), four bytes of length, big endian, and the payload.
/// E.g. 00 00000003 616263 is "abc".
/// </summary>
internal static class Frame
{
    public const int HeaderSizeBytes = 5;

    /// <summary>
    /// Cuts the first frame off <paramref name="buffer"/>. When it is not all there, the answer is false and
    /// <paramref name="frameSizeBytes"/> is its whole size, or 0 while the header is incomplete. The limit is checked
    /// as soon as the header is there, so that nothing is allocated for a length that is merely claimed.
    /// </summary>
    public static bool TryRead(
        ref ReadOnlySequence<byte> buffer,
        int? limitBytes,
        out bool isCompressed,
        out ReadOnlySequence<byte> payload,
        out long frameSizeBytes)
    {
        isCompressed = false;
        payload = default;
        frameSizeBytes = 0;
        if (buffer.Length < HeaderSizeBytes)
        {
            return false;
        }

        ReadHeader(buffer, out var flag, out var length);
        if (flag > 1)
        {
            throw FrameErrors.Malformed($"the compression flag is {flag}, neither 0 nor 1.");
        }

        var limit = limitBytes ?? int.MaxValue - HeaderSizeBytes;
        if (length > limit)
        {
            throw FrameErrors.ReceivedTooLarge(length, limit);
        }

        frameSizeBytes = HeaderSizeBytes + (long)length;
        if (buffer.Length < frameSizeBytes)
        {
            return false;
        }

        isCompressed = flag == 1;
        payload = buffer.Slice(HeaderSizeBytes, length);
        buffer = buffer.Slice(frameSizeBytes);
        return true;
    }

    /// <summary>
    /// The payload itself, or what it decompresses to. An encoding that nobody knows is UNIMPLEMENTED on a server and
    /// INTERNAL on a client (grpc/doc/compression.md).
    /// </summary>
    public static ReadOnlySequence<byte> Decode(
        in ReadOnlySequence<byte> payload,
        bool isCompressed,
        string? encoding,
        int? limitBytes,
        StatusCode whenUnknown = StatusCode.Unimplemented)
    {
        if (!isCompressed)
        {
            return payload;
        }

        return encoding switch
        {
            null or "" or GrpcHeaders.Identity =>
                throw FrameErrors.Malformed("it is flagged as compressed, but no grpc-encoding says how."),
            GrpcHeaders.Gzip => Gzip.Decompress(payload, limitBytes),
            _ => throw FrameErrors.UnknownEncoding(encoding, whenUnknown),
        };
    }

    public static void WriteHeader(IBufferWriter<byte> target, int payloadSizeBytes, bool isCompressed)
    {
        var header = target.GetSpan(HeaderSizeBytes);
        header[0] = isCompressed ? (byte)1 : (byte)0;
        BinaryPrimitives.WriteUInt32BigEndian(header[1..], (uint)payloadSizeBytes);
        target.Advance(HeaderSizeBytes);
    }

    private static void ReadHeader(in ReadOnlySequence<byte> buffer, out byte flag, out uint length)
    {
        Span<byte> copy = stackalloc byte[HeaderSizeBytes];
        scoped ReadOnlySpan<byte> header = buffer.FirstSpan;
        if (header.Length < HeaderSizeBytes)
        {
            buffer.Slice(0, HeaderSizeBytes).CopyTo(copy);
            header = copy;
        }

        flag = header[0];
        length = BinaryPrimitives.ReadUInt32BigEndian(header[1..]);
    }
}
