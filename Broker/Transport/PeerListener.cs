using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using Broker.Domain;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;

namespace Broker.Transport;

/// <summary>An address of the port at which peers reach this node, for Kestrel to listen at.</summary>
internal sealed class PeerEndPoint(IPAddress address, int port) : IPEndPoint(address, port);

/// <summary>Marks what came by the peers' port, among the features of a connection and so of its requests.</summary>
internal sealed class CameByPeersPort
{
    public static readonly CameByPeersPort Mark = new();
}

/// <summary>
/// Listens at the peers' port, where two things are spoken: the connections between peers, whose first byte says so,
/// which go to the door, and HTTP/2 for calls, which goes to Kestrel.
/// </summary>
/// <param name="door">
/// Who serves a peer's connection, on a thread of its own. It calls the action when it knows who has come: until then
/// the connection is one of a bounded number.
/// </param>
/// <param name="loggers">Where words go.</param>
internal sealed class PeerListenerFactory(Action<PeerSocket, Action> door, ILoggerFactory loggers)
    : IConnectionListenerFactory, IConnectionListenerFactorySelector
{
    public bool CanBind(EndPoint endpoint) => endpoint is PeerEndPoint;

    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default)
    {
        var at = (PeerEndPoint)endpoint;
        var socket = new Socket(at.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            if (at.Address.Equals(IPAddress.IPv6Any))
            {
                socket.DualMode = true;
            }

            socket.Bind(new IPEndPoint(at.Address, at.Port));
            socket.Listen();
        }
        catch (SocketException failure)
        {
            socket.Dispose();
            throw failure.SocketErrorCode == SocketError.AddressAlreadyInUse
                ? new AddressInUseException(failure.Message, failure)
                : failure;
        }

        return ValueTask.FromResult<IConnectionListener>(new PeerListener(socket, door, loggers));
    }
}

/// <summary>The listener of <see cref="PeerListenerFactory"/>.</summary>
internal sealed class PeerListener : IConnectionListener
{
    /// <summary>"PRI * HTTP/2.0" begins so (RFC 9113, 3.4).</summary>
    private const byte HttpPreface = (byte)'P';

    private readonly Socket _socket;
    private readonly Action<PeerSocket, Action> _door;
    private readonly ILogger _logger;
    private readonly SocketConnectionContextFactory _connections;
    private readonly Channel<ConnectionContext> _calls = Channel.CreateBounded<ConnectionContext>(
        new BoundedChannelOptions(Limits.PeerConnectionsAtDoor) { SingleReader = true });

    private readonly Task _accepting;
    private int _atDoor;

    public PeerListener(Socket socket, Action<PeerSocket, Action> door, ILoggerFactory loggers)
    {
        (_socket, _door) = (socket, door);
        _logger = loggers.CreateLogger("Broker.Transport");

        // Not scheduled inline, though the clients' port is: with that a caller that still wrote now and then did not
        // hear that this side had ended its call (a damaged chunk of a snapshot).
        _connections = new SocketConnectionContextFactory(
            new SocketConnectionFactoryOptions(),
            loggers.CreateLogger("Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets"));
        var bound = (IPEndPoint)socket.LocalEndPoint!;
        EndPoint = new PeerEndPoint(bound.Address, bound.Port);
        _accepting = AcceptForeverAsync();
    }

    public EndPoint EndPoint { get; }

    public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default) =>
        await _calls.Reader.WaitToReadAsync(cancellationToken) && _calls.Reader.TryRead(out var call) ? call : null;

    public async ValueTask UnbindAsync(CancellationToken cancellationToken = default)
    {
        _socket.Dispose();

        // It ends at once, so whoever has no patience left need not give up: the rest of the server is still to stop.
        await _accepting;
    }

    public async ValueTask DisposeAsync()
    {
        await UnbindAsync();
        _connections.Dispose();
    }

    private async Task AcceptForeverAsync()
    {
        while (true)
        {
            try
            {
                var accepted = await _socket.AcceptAsync();
                if (Interlocked.Increment(ref _atDoor) > Limits.PeerConnectionsAtDoor)
                {
                    Interlocked.Decrement(ref _atDoor);
                    accepted.Dispose();
                    continue;
                }

                _ = PeerThread.RunAsync("peer at the door", () => Receive(accepted));
            }
            catch (Exception end) when (end is ObjectDisposedException
                or SocketException { SocketErrorCode: SocketError.OperationAborted })
            {
                // Unbound: nobody else comes.
                _calls.Writer.TryComplete();
                return;
            }
            catch (SocketException failure)
            {
                // Whoever wanted to connect has gone again; or the process has too many files open, for a while.
                TransportEvents.NoPeer(_logger, "an unknown address", failure.Message);
                await Task.Delay(TimeSpan.FromMilliseconds(20));
            }
        }
    }

    private void Receive(Socket accepted)
    {
        var isAtDoor = 1;
        void Enter()
        {
            if (Interlocked.Exchange(ref isAtDoor, 0) == 1)
            {
                Interlocked.Decrement(ref _atDoor);
            }
        }

        try
        {
            var peer = new PeerSocket(accepted);
            if (peer.PeekFirst(PeerTransport.HelloTimeout) is not { } first)
            {
                TransportEvents.NoPeer(_logger, peer.Remote, "It says nothing.");
                accepted.Dispose();
            }
            else if (first == PeerFrame.Preamble[0])
            {
                using (peer)
                {
                    _door(peer, Enter);
                }
            }
            else if (first == HttpPreface)
            {
                GiveToKestrel(accepted);
            }
            else
            {
                TransportEvents.NoPeer(_logger, peer.Remote, "It speaks neither as a peer nor HTTP/2.");
                accepted.Dispose();
            }
        }
        catch (Exception failure) when (failure is IOException or SocketException or ObjectDisposedException)
        {
            TransportEvents.NoPeer(_logger, "an address that has gone", failure.Message);
            accepted.Dispose();
        }
        finally
        {
            Enter();
        }
    }

    private void GiveToKestrel(Socket socket)
    {
        var call = _connections.Create(socket);
        call.Features.Set(CameByPeersPort.Mark);
        if (!_calls.Writer.TryWrite(call))
        {
            call.Abort();
        }
    }
}
