using System.Buffers;
using System.Buffers.Binary;
using System.IO.Compression;
using Grpc.Core;

namespace Grpc.Wire;

/// <summary>
/// The gzip encoding. The broker's own traffic does not use it, so that clarity goes before speed here.
/// </summary>
internal static class Gzip
{
    private const int ChunkSizeBytes = 16 * 1024;

    /// <summary>Header and trailer.</summary>
    private const int SmallestSizeBytes = 18;

    /// <summary>Stops at the limit, so that a small frame cannot unfold into all of the memory.</summary>
    public static ReadOnlySequence<byte> Decompress(in ReadOnlySequence<byte> payload, int? limitBytes)
    {
        if (payload.IsEmpty)
        {
            // What a peer that hands an empty message to .NET's GZipStream sends.
            return payload;
        }

        var limit = limitBytes ?? Array.MaxLength;
        var output = new ArrayBufferWriter<byte>();
        using var input = new MemoryStream(payload.ToArray());
        using var gzip = new GZipStream(input, CompressionMode.Decompress);
        try
        {
            while (true)
            {
                var count = gzip.Read(output.GetSpan(ChunkSizeBytes));
                if (count == 0)
                {
                    CheckEnd(payload, output.WrittenCount);
                    return new ReadOnlySequence<byte>(output.WrittenMemory);
                }

                output.Advance(count);
                if (output.WrittenCount > limit)
                {
                    throw FrameErrors.DecompressedTooLarge(limit);
                }
            }
        }
        catch (InvalidDataException exception)
        {
            throw new RpcException(new Status(
                StatusCode.Internal, "Malformed gRPC frame: the payload is not valid gzip.", exception));
        }
    }

    /// <summary>
    /// A gzip stream ends with the length that it unfolds to (RFC 1952, 2.3.1). GZipStream takes the end of its input
    /// for the end of the data, so that a message cut short would pass for a whole one.
    /// </summary>
    private static void CheckEnd(in ReadOnlySequence<byte> payload, int sizeBytes)
    {
        Span<byte> end = stackalloc byte[sizeof(uint)];
        if (payload.Length >= SmallestSizeBytes)
        {
            payload.Slice(payload.Length - sizeof(uint)).CopyTo(end);
            if (BinaryPrimitives.ReadUInt32LittleEndian(end) == (uint)sizeBytes)
            {
                return;
            }
        }

        throw FrameErrors.Malformed("the gzip payload is cut short.");
    }

    public static byte[] Compress(ReadOnlySpan<byte> payload, CompressionLevel level)
    {
        using var output = new MemoryStream();
        using (var gzip = new GZipStream(output, level, leaveOpen: true))
        {
            gzip.Write(payload);
        }

        return output.ToArray();
    }
}
