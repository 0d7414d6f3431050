using System.Buffers;

namespace Grpc.Wire;

/// <summary>A growing buffer of pooled memory. Not safe for use by two threads at once.</summary>
internal sealed class PooledBuffer : IBufferWriter<byte>
{
    private const int SmallestSizeBytes = 1024;

    /// <summary>
    /// Above this, <see cref="Clear"/> gives the memory back: one large message must not pin it for the call's life.
    /// </summary>
    private const int KeptSizeBytes = 128 * 1024;

    private byte[] _bytes = [];

    public int Length { get; private set; }

    public ReadOnlyMemory<byte> Written => _bytes.AsMemory(0, Length);

    public void Advance(int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, _bytes.Length - Length);
        Length += count;
    }

    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        Reserve(sizeHint);
        return _bytes.AsMemory(Length);
    }

    public Span<byte> GetSpan(int sizeHint = 0)
    {
        Reserve(sizeHint);
        return _bytes.AsSpan(Length);
    }

    /// <summary>Makes room for so many bytes at once.</summary>
    public void Reserve(int sizeBytes)
    {
        var free = _bytes.Length - Length;
        if (free >= Math.Max(sizeBytes, 1))
        {
            return;
        }

        var needed = Math.Max(Length + (long)Math.Max(sizeBytes, 1), SmallestSizeBytes);
        var size = Math.Min(Math.Max(needed, _bytes.Length * 2L), Array.MaxLength);
        if (size < needed)
        {
            throw new InvalidOperationException($"A message of {needed} bytes does not fit into memory.");
        }

        var larger = ArrayPool<byte>.Shared.Rent((int)size);
        Written.Span.CopyTo(larger);
        Return();
        _bytes = larger;
    }

    /// <summary>Forgets what was written after this length.</summary>
    public void Truncate(int length)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, Length);
        Length = length;
    }

    public void Clear()
    {
        Length = 0;
        if (_bytes.Length > KeptSizeBytes)
        {
            Return();
        }
    }

    /// <summary>Gives the memory back. The buffer is empty and can be used again.</summary>
    public void Release()
    {
        Length = 0;
        Return();
    }

    private void Return()
    {
        if (_bytes.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(_bytes);
            _bytes = [];
        }
    }
}
