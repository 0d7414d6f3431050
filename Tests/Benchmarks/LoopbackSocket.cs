using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace Broker.Tests.Benchmarks;

/// <summary>
/// Bytes over a loopback socket and nothing else: the measure of what this machine could do. The first byte says what
/// the client wants, and eight more how many bytes.
/// </summary>
internal static class LoopbackSocket
{
    private const byte Send = 1;
    private const byte Receive = 2;
    private const byte Echo = 3;
    private const int HeaderSizeBytes = 9;

    public static async Task ServeAsync(TcpListener listener, CancellationToken cancellationToken)
    {
        var buffer = new byte[GrpcVerb.MessageSizeBytes];
        while (!cancellationToken.IsCancellationRequested)
        {
            using var socket = await listener.AcceptSocketAsync(cancellationToken);
            socket.NoDelay = true;
            await ReadAsync(socket, buffer.AsMemory(0, HeaderSizeBytes), cancellationToken);
            var sizeBytes = BinaryPrimitives.ReadInt64LittleEndian(buffer.AsSpan(1));
            switch (buffer[0])
            {
                case Send:
                    await ReceiveAllAsync(socket, buffer, sizeBytes, cancellationToken);
                    await WriteAsync(socket, buffer.AsMemory(0, 1), cancellationToken);
                    break;
                case Receive:
                    await SendAllAsync(socket, buffer, sizeBytes, cancellationToken);
                    break;
                default:
                    await EchoAsync(socket, buffer, cancellationToken);
                    break;
            }
        }
    }

    public static async Task SendAsync(int port, long sizeBytes, CancellationToken cancellationToken)
    {
        using var socket = await ConnectAsync(port, Send, sizeBytes, cancellationToken);
        var buffer = new byte[GrpcVerb.MessageSizeBytes];
        await SendAllAsync(socket, buffer, sizeBytes, cancellationToken);
        await ReadAsync(socket, buffer.AsMemory(0, 1), cancellationToken);
    }

    public static async Task ReceiveAsync(int port, long sizeBytes, CancellationToken cancellationToken)
    {
        using var socket = await ConnectAsync(port, Receive, sizeBytes, cancellationToken);
        await ReceiveAllAsync(socket, new byte[GrpcVerb.MessageSizeBytes], sizeBytes, cancellationToken);
    }

    /// <summary>So many round trips of a small message, one after the other.</summary>
    public static async Task EchoAsync(int port, int count, int sizeBytes, CancellationToken cancellationToken)
    {
        using var socket = await ConnectAsync(port, Echo, 0, cancellationToken);
        var buffer = new byte[sizeBytes];
        for (var i = 0; i < count; i++)
        {
            await WriteAsync(socket, buffer, cancellationToken);
            await ReadAsync(socket, buffer, cancellationToken);
        }
    }

    private static async Task<Socket> ConnectAsync(
        int port, byte what, long sizeBytes, CancellationToken cancellationToken)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(IPAddress.Loopback, port, cancellationToken);
        var header = new byte[HeaderSizeBytes];
        header[0] = what;
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(1), sizeBytes);
        await WriteAsync(socket, header, cancellationToken);
        return socket;
    }

    private static async Task EchoAsync(Socket socket, byte[] buffer, CancellationToken cancellationToken)
    {
        int count;
        while ((count = await socket.ReceiveAsync(buffer, SocketFlags.None, cancellationToken)) > 0)
        {
            await WriteAsync(socket, buffer.AsMemory(0, count), cancellationToken);
        }
    }

    private static async Task SendAllAsync(
        Socket socket, byte[] buffer, long sizeBytes, CancellationToken cancellationToken)
    {
        for (var left = sizeBytes; left > 0; left -= buffer.Length)
        {
            var size = (int)Math.Min(left, buffer.Length);
            await WriteAsync(socket, buffer.AsMemory(0, size), cancellationToken);
        }
    }

    private static async Task ReceiveAllAsync(
        Socket socket, byte[] buffer, long sizeBytes, CancellationToken cancellationToken)
    {
        for (long left = sizeBytes, count; left > 0; left -= count)
        {
            count = await socket.ReceiveAsync(buffer, SocketFlags.None, cancellationToken);
            if (count == 0)
            {
                throw new EndOfStreamException();
            }
        }
    }

    private static async Task ReadAsync(Socket socket, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        for (var read = 0; read < buffer.Length;)
        {
            var count = await socket.ReceiveAsync(buffer[read..], SocketFlags.None, cancellationToken);
            read += count > 0 ? count : throw new EndOfStreamException();
        }
    }

    private static async Task WriteAsync(
        Socket socket, ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        while (!bytes.IsEmpty)
        {
            bytes = bytes[await socket.SendAsync(bytes, SocketFlags.None, cancellationToken)..];
        }
    }
}
