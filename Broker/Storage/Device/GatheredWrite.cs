using System.Buffers;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Broker.Storage;

/// <summary>
/// pwritev for the log's write path. RandomAccess.Write does the same, but makes an array for the pins and one for the
/// vectors in each call: 40 bytes of garbage a part, two or three parts an entry. Used by one thread at a time.
/// </summary>
internal sealed class GatheredWrite(string path, SafeFileHandle handle)
{
    /// <summary>Linux takes at most this many parts in one call (IOV_MAX).</summary>
    public const int PartsPerCall = 1024;

    private readonly MemoryHandle[] _pins = new MemoryHandle[PartsPerCall];
    private readonly IoVector[] _vectors = new IoVector[PartsPerCall];

    public void Write(long offset, IReadOnlyList<ReadOnlyMemory<byte>> parts)
    {
        for (var first = 0; first < parts.Count; first += PartsPerCall)
        {
            offset += WriteSome(offset, parts, first, Math.Min(PartsPerCall, parts.Count - first));
        }
    }

    private long WriteSome(long offset, IReadOnlyList<ReadOnlyMemory<byte>> parts, int first, int count)
    {
        var pinned = 0;
        try
        {
            var total = 0L;
            for (; pinned < count; pinned++)
            {
                var part = parts[first + pinned];
                _pins[pinned] = part.Pin();
                _vectors[pinned] = VectorOf(_pins[pinned], part.Length);
                total += part.Length;
            }

            WriteAll(offset, count, total);
            return total;
        }
        finally
        {
            for (var i = 0; i < pinned; i++)
            {
                _pins[i].Dispose();
            }
        }
    }

    /// <summary>A call may write less than it was given: then the rest follows.</summary>
    private void WriteAll(long offset, int count, long left)
    {
        for (var first = 0; left > 0;)
        {
            var written = SystemCalls.WriteGathered(handle, path, _vectors.AsSpan(first, count - first), offset);
            if (written == 0)
            {
                throw new IOException($"pwritev of {path} at byte {offset:N0} wrote nothing.");
            }

            offset += written;
            left -= written;
            while (first < count && written >= _vectors[first].LengthBytes)
            {
                written -= _vectors[first].LengthBytes;
                first++;
            }

            if (written > 0)
            {
                _vectors[first] = _vectors[first].Skip((nint)written);
            }
        }
    }

    private static unsafe IoVector VectorOf(in MemoryHandle pin, int lengthBytes) =>
        new((nint)pin.Pointer, lengthBytes);
}

/// <summary>struct iovec of POSIX: a buffer's address and its length.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly struct IoVector(nint address, nint lengthBytes)
{
    public nint Address { get; } = address;

    public nint LengthBytes { get; } = lengthBytes;

    /// <summary>What is left of the buffer after its first bytes.</summary>
    public IoVector Skip(nint bytes) => new(Address + bytes, LengthBytes - bytes);
}
