using System.Net;
using System.Net.Sockets;
using Xunit;

namespace Broker.Tests.Unit.GrpcCalls;

/// <summary>
/// A TCP relay whose connections can be reset as when a process is killed, or fall silent as when a cable is pulled.
/// </summary>
public sealed class CuttableProxy : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly List<Socket> _sockets = [];
    private readonly Task _accepting;
    private readonly int _targetPort;
    private HashSet<Socket> _silent = [];

    public CuttableProxy(int targetPort)
    {
        _targetPort = targetPort;
        _listener.Start();
        _accepting = AcceptAsync();
    }

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    public void Cut()
    {
        lock (_sockets)
        {
            // First all options, then all ends: the pump of a socket that is gone disposes of the other.
            foreach (var socket in _sockets.Where(socket => socket.Connected))
            {
                socket.LingerState = new LingerOption(true, 0);
            }

            foreach (var socket in _sockets)
            {
                socket.Dispose();
            }

            _sockets.Clear();
        }
    }

    /// <summary>The connections of now stay open, and nothing comes through them any more.</summary>
    public void Silence()
    {
        lock (_sockets)
        {
            Volatile.Write(ref _silent, [.. _sockets]);
        }
    }

    public async ValueTask DisposeAsync()
    {
        _listener.Stop();
        await _accepting;
        Cut();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var near = await _listener.AcceptSocketAsync();
                var far = new Socket(SocketType.Stream, ProtocolType.Tcp);
                await far.ConnectAsync(IPAddress.Loopback, _targetPort);
                lock (_sockets)
                {
                    _sockets.Add(near);
                    _sockets.Add(far);
                }

                _ = PumpAsync(near, far);
                _ = PumpAsync(far, near);
            }
        }
        catch (Exception exception) when (exception is SocketException or ObjectDisposedException)
        {
            Assert.NotNull(exception.Message); // The listener was stopped.
        }
    }

    private async Task PumpAsync(Socket from, Socket to)
    {
        var buffer = new byte[16 * 1024];
        try
        {
            int count;
            while ((count = await from.ReceiveAsync(buffer)) > 0)
            {
                if (!Volatile.Read(ref _silent).Contains(to))
                {
                    await to.SendAsync(buffer.AsMemory(0, count));
                }
            }
        }
        catch (Exception exception) when (exception is SocketException or ObjectDisposedException)
        {
            to.Dispose(); // One end was cut, so the other is too.
        }
    }
}
