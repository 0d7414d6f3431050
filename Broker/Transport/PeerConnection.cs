using Broker.Domain;
using Google.Protobuf;

namespace Broker.Transport;

/// <summary>Frames over a socket. One thread reads; one at a time writes, see <see cref="PeerLink"/>.</summary>
internal sealed class PeerConnection(PeerSocket socket, TimeProvider time) : IDisposable
{
    private const int BufferBytes = 64 * 1024;

    /// <summary>A buffer that a large frame has made grow is given back when nothing is in it.</summary>
    private const int KeptBytes = 1024 * 1024;

    private byte[] _buffer = new byte[BufferBytes];
    private int _begin;
    private int _end;
    private int _taken;

    public string Remote => socket.Remote;

    /// <summary>Takes the preamble of whoever dialled; false: it is another one, or none came in time.</summary>
    /// <exception cref="IOException">The connection broke.</exception>
    public bool TryTakePreamble(TimeSpan patience)
    {
        var began = time.GetTimestamp();
        while (_end < PeerFrame.Preamble.Length)
        {
            if (!TryFill(patience, began, patience))
            {
                return false;
            }
        }

        _begin = PeerFrame.Preamble.Length;
        return _buffer.AsSpan(0, _begin).SequenceEqual(PeerFrame.Preamble);
    }

    /// <summary>
    /// Waits for the next frame. False: the peer has ended the connection between two frames. The payload is the
    /// caller's until the next call.
    /// </summary>
    /// <param name="silence">How long nothing at all may come.</param>
    /// <param name="patience">How long the frame may take as a whole; null: as long as something of it comes.</param>
    /// <param name="kind">The frame's kind.</param>
    /// <param name="payload">What it holds.</param>
    /// <exception cref="IOException">The connection broke, was silent, or brought what no peer sends.</exception>
    public bool TryRead(
        TimeSpan silence, TimeSpan? patience, out PeerFrameKind kind, out ReadOnlySpan<byte> payload)
    {
        _begin += _taken;
        _taken = 0;
        var began = time.GetTimestamp();
        while (true)
        {
            var arrived = _buffer.AsSpan(_begin, _end - _begin);
            switch (PeerFrame.Look(arrived, out kind, out var lengthBytes))
            {
                case PeerFrameStatus.Whole:
                    payload = arrived[PeerFrame.HeaderBytes..lengthBytes];
                    _taken = lengthBytes;
                    return true;
                case PeerFrameStatus.Garbled:
                    throw new IOException("What came is no frame of a peer, or was damaged on the way.");
            }

            MakeRoom(lengthBytes);
            if (!TryFill(silence, began, patience))
            {
                payload = default;
                return _begin == _end
                    ? false
                    : throw new IOException("The connection ended within a frame.");
            }
        }
    }

    /// <summary>See <see cref="PeerSocket.TrySend"/>.</summary>
    public int TrySend(ReadOnlySpan<byte> bytes) => socket.TrySend(bytes);

    /// <summary>See <see cref="PeerSocket.WaitWritable"/>.</summary>
    public bool WaitWritable(TimeSpan patience) => socket.WaitWritable(patience);

    /// <summary>Writes one small frame, of those before the envelopes.</summary>
    /// <exception cref="IOException">The connection broke, or the socket does not take it.</exception>
    public void Write(PeerFrameKind kind, IMessage message, TimeSpan patience)
    {
        var buffer = new byte[PeerFrame.HeaderBytes];
        var length = PeerFrame.Write(kind, message, ref buffer);
        Write(buffer.AsSpan(0, length), patience);
    }

    public void Write(ReadOnlySpan<byte> bytes, TimeSpan patience)
    {
        while (bytes.Length > 0)
        {
            var count = socket.TrySend(bytes);
            if (count == 0 && !socket.WaitWritable(patience))
            {
                throw new IOException("The peer takes nothing.");
            }

            bytes = bytes[count..];
        }
    }

    /// <summary>See <see cref="PeerSocket.Close"/>.</summary>
    public void Close() => socket.Close();

    public void Dispose() => socket.Dispose();

    private void MakeRoom(int forBytes)
    {
        if (_begin == _end)
        {
            (_begin, _end) = (0, 0);
            if (_buffer.Length > KeptBytes && forBytes <= BufferBytes)
            {
                _buffer = new byte[BufferBytes];
            }
        }

        if (_begin + forBytes <= _buffer.Length && _end < _buffer.Length)
        {
            return;
        }

        Invariant.Check(
            forBytes <= PeerFrame.HeaderBytes + Limits.PeerFrameBytes, "a frame from a peer is within its limit");
        var next = forBytes <= _buffer.Length ? _buffer : new byte[Math.Max(forBytes, BufferBytes)];
        _buffer.AsSpan(_begin, _end - _begin).CopyTo(next);
        (_buffer, _begin, _end) = (next, 0, _end - _begin);
    }

    /// <summary>Waits for more bytes; false: the connection has ended.</summary>
    private bool TryFill(TimeSpan silence, long began, TimeSpan? patience)
    {
        while (true)
        {
            var wait = silence;
            if (patience is { } whole && whole - time.GetElapsedTime(began) is var left && left < silence)
            {
                wait = left > TimeSpan.Zero ? left : TimeSpan.Zero;
            }

            if (!socket.WaitReadable(wait))
            {
                throw new IOException($"Nothing came for {wait.TotalSeconds:N1} s.");
            }

            var count = socket.Receive(_buffer.AsSpan(_end));
            if (count >= 0)
            {
                _end += count;
                return count > 0;
            }
        }
    }
}
