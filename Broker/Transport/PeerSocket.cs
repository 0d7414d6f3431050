using System.Net;
using System.Net.Sockets;

namespace Broker.Transport;

/// <summary>
/// A TCP connection to a peer, read by a thread of its own and written by whoever has something to say. It never blocks
/// but in the two waits, and never uses the runtime's asynchronous sockets: the kernel wakes the reader itself, where
/// those would first wake a thread that waits for all sockets, and that one a thread of the pool. TLS would be another
/// class with these members around an SslStream.
/// </summary>
internal sealed class PeerSocket : IDisposable
{
    private readonly Socket _socket;
    private volatile bool _isClosed;

    public PeerSocket(Socket socket)
    {
        _socket = socket;
        _socket.Blocking = false;
        _socket.NoDelay = true;
        Remote = $"{socket.RemoteEndPoint}";
    }

    /// <summary>The other end, for words.</summary>
    public string Remote { get; }

    /// <summary>Connects, or throws. Blocks until then, about the patience at most.</summary>
    /// <exception cref="SocketException">Nobody answers there.</exception>
    public static PeerSocket Connect(Uri address, TimeSpan patience, CancellationToken cancellationToken)
    {
        SocketException? failure = null;
        foreach (var ip in Dns.GetHostAddresses(address.DnsSafeHost))
        {
            var socket = new Socket(ip.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { Blocking = false };
            try
            {
                Connect(socket, new IPEndPoint(ip, address.Port), patience, cancellationToken);
                return new PeerSocket(socket);
            }
            catch (SocketException reason)
            {
                failure = reason;
                socket.Dispose();
            }
            catch
            {
                socket.Dispose();
                throw;
            }
        }

        throw failure ?? new SocketException((int)SocketError.HostNotFound);
    }

    /// <summary>Waits until there is something to read, or the end. False: there was nothing for so long.</summary>
    /// <exception cref="IOException">The connection is closed.</exception>
    public bool WaitReadable(TimeSpan patience) => Wait(SelectMode.SelectRead, patience);

    /// <summary>Waits until the socket takes something. False: it took nothing for so long.</summary>
    /// <exception cref="IOException">The connection is closed.</exception>
    public bool WaitWritable(TimeSpan patience) => Wait(SelectMode.SelectWrite, patience);

    /// <summary>
    /// Reads what is there, after <see cref="WaitReadable"/>. 0: the peer has ended the connection. Negative: there was
    /// nothing after all, as the kernel may wake who waits for nothing.
    /// </summary>
    /// <exception cref="IOException">The connection broke.</exception>
    public int Receive(Span<byte> into)
    {
        try
        {
            var count = _socket.Receive(into, SocketFlags.None, out var error);
            return error switch
            {
                SocketError.Success => count,
                SocketError.WouldBlock => -1,
                _ => throw Broken(error),
            };
        }
        catch (ObjectDisposedException)
        {
            throw Closed();
        }
    }

    /// <summary>Gives the socket as much as it takes at once; 0: it is full. Never blocks.</summary>
    /// <exception cref="IOException">The connection broke.</exception>
    public int TrySend(ReadOnlySpan<byte> bytes)
    {
        try
        {
            var count = _socket.Send(bytes, SocketFlags.None, out var error);
            return error switch
            {
                SocketError.Success => count,
                SocketError.WouldBlock => 0,
                _ => throw Broken(error),
            };
        }
        catch (ObjectDisposedException)
        {
            throw Closed();
        }
    }

    /// <summary>Ends the connection, from any thread: who waits for it wakes up.</summary>
    public void Close()
    {
        _isClosed = true;
        try
        {
            _socket.Shutdown(SocketShutdown.Both);
        }
        catch (Exception failure) when (failure is SocketException or ObjectDisposedException)
        {
            // It has ended by itself, and whoever waited has heard of it.
            _isClosed = true;
        }
    }

    public void Dispose()
    {
        _isClosed = true;
        _socket.Dispose();
    }

    /// <summary>Looks at the first byte that comes and leaves it there; null: none came.</summary>
    public byte? PeekFirst(TimeSpan patience)
    {
        Span<byte> first = stackalloc byte[1];
        return WaitReadable(patience)
            && _socket.Receive(first, SocketFlags.Peek, out var error) == 1 && error == SocketError.Success
                ? first[0]
                : null;
    }

    private static void Connect(
        Socket socket, IPEndPoint to, TimeSpan patience, CancellationToken cancellationToken)
    {
        try
        {
            socket.Connect(to);
            return;
        }
        catch (SocketException begun)
            when (begun.SocketErrorCode is SocketError.WouldBlock or SocketError.InProgress)
        {
            // As it must be, of a socket that does not block.
        }

        var slice = TimeSpan.FromMilliseconds(100);
        for (var left = patience; !socket.Poll(slice, SelectMode.SelectWrite); left -= slice)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (left <= TimeSpan.Zero)
            {
                throw new SocketException((int)SocketError.TimedOut);
            }
        }

        var error = (int)socket.GetSocketOption(SocketOptionLevel.Socket, SocketOptionName.Error)!;
        if (error != 0)
        {
            throw new SocketException(error);
        }
    }

    private bool Wait(SelectMode mode, TimeSpan patience)
    {
        try
        {
            return !_isClosed ? _socket.Poll(patience, mode) : throw Closed();
        }
        catch (ObjectDisposedException)
        {
            throw Closed();
        }
        catch (SocketException failure)
        {
            throw Broken(failure.SocketErrorCode);
        }
    }

    private static IOException Closed() => new("This side has closed the connection.");

    private static IOException Broken(SocketError error) => new(new SocketException((int)error).Message);
}
