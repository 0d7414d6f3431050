using System.Buffers;
using Grpc.Core;
using Grpc.Wire;

namespace Grpc.Net.Client.Internal;

/// <summary>
/// Cuts the response's stream into frames with one pooled buffer, many frames a read where they come together.
/// </summary>
internal sealed class ResponseFrames(Stream stream, string? encoding, int? limitBytes)
{
    private const int FirstSizeBytes = 4 * 1024;
    private const int LargestIdleSizeBytes = 128 * 1024;

    /// <summary>Room for a longer frame grows with what arrives, not with what its prefix claims.</summary>
    private const int LargestClaimBytes = 1024 * 1024;

    private byte[] _bytes = [];
    private int _start;
    private int _end;
    private long _frameSizeBytes;
    private bool _wasFilled;

    public bool HasPartialFrame => _end > _start;

    /// <summary>The next payload. It lies in the buffer and is valid until the next fill.</summary>
    public bool TryRead(out ReadOnlySequence<byte> payload)
    {
        var buffer = new ReadOnlySequence<byte>(_bytes, _start, _end - _start);
        var before = buffer.Length;
        if (!Frame.TryRead(ref buffer, limitBytes, out var isCompressed, out payload, out _frameSizeBytes))
        {
            return false;
        }

        _start += (int)(before - buffer.Length);
        _frameSizeBytes = 0;
        payload = Frame.Decode(payload, isCompressed, encoding, limitBytes, StatusCode.Internal);
        return true;
    }

    /// <summary>Reads more; false at the end of the response.</summary>
    public async ValueTask<bool> FillAsync(CancellationToken cancellationToken)
    {
        MakeRoom();
        var room = _bytes.Length - _end;
        var count = await stream.ReadAsync(_bytes.AsMemory(_end, room), cancellationToken);
        _end += count;
        _wasFilled = count == room;
        return count > 0;
    }

    public void Release()
    {
        _start = 0;
        _end = 0;
        Replace([]);
    }

    private void MakeRoom()
    {
        var pending = _end - _start;
        var size = _bytes.Length;
        if (pending == 0 && size > LargestIdleSizeBytes)
        {
            size = LargestIdleSizeBytes;
        }
        else if (_wasFilled && size < LargestIdleSizeBytes)
        {
            size *= 2;
        }

        if (_frameSizeBytes > size)
        {
            size = (int)Math.Min(_frameSizeBytes, Math.Max(2L * pending, LargestClaimBytes));
        }

        size = Math.Max(size, FirstSizeBytes);
        if (size > _bytes.Length || (pending == 0 && _bytes.Length > 2 * LargestIdleSizeBytes))
        {
            var other = ArrayPool<byte>.Shared.Rent(size);
            _bytes.AsSpan(_start, pending).CopyTo(other);
            Replace(other);
        }
        else if (_start > 0)
        {
            _bytes.AsSpan(_start, pending).CopyTo(_bytes);
        }

        _start = 0;
        _end = pending;
    }

    private void Replace(byte[] bytes)
    {
        if (_bytes.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(_bytes);
        }

        _bytes = bytes;
    }
}
