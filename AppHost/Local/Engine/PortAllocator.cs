using System.Net;
using System.Net.Sockets;

namespace Aspire.Hosting.Local;

/// <summary>
/// Finds free loopback ports. They come from below the range from which the system gives out the local ports of
/// outgoing connections: a client that tries to reach a stopped service would otherwise, sooner or later, be given
/// that service's own port, connect to itself, and keep the service from starting again.
/// </summary>
internal sealed class PortAllocator
{
    private const int Lowest = 20_000;
    private const int Highest = 32_000;
    private const int SystemLowest = 32_768;
    private readonly HashSet<int> _given = [];

    public int Next()
    {
        for (var attempt = 0; attempt < EngineLimits.PortAttempts; attempt++)
        {
            var port = FirstOutgoingPort() > Highest ? Random.Shared.Next(Lowest, Highest) : AnyFreePort();
            if (!_given.Contains(port) && IsFree(port))
            {
                _given.Add(port);
                return port;
            }
        }

        throw new DistributedApplicationException($"No free port found in {EngineLimits.PortAttempts} attempts.");
    }

    /// <summary>Whether a server could bind the port now, on both loopback addresses.</summary>
    public static bool IsFree(int port) =>
        CanBind(IPAddress.Loopback, port) && (!Socket.OSSupportsIPv6 || CanBind(IPAddress.IPv6Loopback, port));

    private static bool CanBind(IPAddress address, int port)
    {
        try
        {
            using var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            socket.Bind(new IPEndPoint(address, port));
            return true;
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.AddressNotAvailable)
        {
            // The machine has no such loopback address; nobody else can be listening on it either.
            return true;
        }
        catch (SocketException e)
            when (e.SocketErrorCode is SocketError.AddressAlreadyInUse or SocketError.AccessDenied)
        {
            return false;
        }
    }

    private static int AnyFreePort()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }

    // The file holds two numbers, for example "32768\t60999".
    private static int FirstOutgoingPort()
    {
        const string Range = "/proc/sys/net/ipv4/ip_local_port_range";
        return File.Exists(Range) && int.TryParse(File.ReadAllText(Range).Split('\t', ' ')[0], out var first)
            ? first
            : SystemLowest;
    }
}
