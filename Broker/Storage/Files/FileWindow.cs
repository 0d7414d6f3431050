namespace Broker.Storage;

/// <summary>
/// Reads a file from front to back in large pieces, so that a scan of many small frames makes few system calls.
/// </summary>
internal sealed class FileWindow(IStorageFile file, long endOffset)
{
    private const int WindowBytes = 256 * 1024;
    private byte[] _buffer = new byte[Math.Min(WindowBytes, endOffset)];
    private long _start;
    private int _filled;

    /// <summary>These bytes, or fewer where the range or the file ends. Valid until the next call.</summary>
    public ReadOnlySpan<byte> Get(long offset, int length)
    {
        length = (int)Math.Clamp(endOffset - offset, 0, length);
        if (offset < _start || offset + length > _start + _filled)
        {
            Fill(offset, length);
        }

        var at = (int)(offset - _start);
        return _buffer.AsSpan(at, Math.Min(length, _filled - at));
    }

    private void Fill(long offset, int length)
    {
        if (_buffer.Length < length)
        {
            _buffer = new byte[length];
        }

        _start = offset;
        _filled = file.Read(offset, _buffer.AsSpan(0, (int)Math.Min(_buffer.Length, endOffset - offset)));
    }
}
