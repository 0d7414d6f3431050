using System.Buffers;
using System.IO.Compression;
using Grpc.Core;

namespace Grpc.Wire;

/// <summary>
/// The gzip encoding. The broker's own traffic does not use it, so that clarity goes before speed here.
/// </summary>
internal static class Gzip
{
    private const int ChunkSizeBytes = 16 * 1024;

    /// <summary>Stops at the limit, so that a small frame cannot unfold into all of the memory.</summary>
    public static ReadOnlySequence<byte> Decompress(in ReadOnlySequence<byte> payload, int? limitBytes)
    {
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

    public static byte[] Compress(ReadOnlySpan<byte> payload)
    {
        using var output = new MemoryStream();
        using (var gzip = new GZipStream(output, CompressionLevel.Fastest, leaveOpen: true))
        {
            gzip.Write(payload);
        }

        return output.ToArray();
    }
}
