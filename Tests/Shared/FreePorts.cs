using System.Net;
using System.Net.Sockets;

namespace Broker.Tests;

/// <summary>
/// Ports for servers that tests start. They lie below those that systems give to connections going out (Linux has 32768
/// and up, others 49152): a port of those that was free a moment ago may be somebody's connection when the server
/// starts. Each is given once by a process; two processes begin at different ones.
/// </summary>
internal static class FreePorts
{
    private const int First = 15_000;
    private const int Count = 17_000;

    private static int _next = Random.Shared.Next(Count);

    public static int Take()
    {
        for (var tries = 0; tries < Count; tries++)
        {
            var port = First + (int)((uint)Interlocked.Increment(ref _next) % Count);
            if (IsFree(port))
            {
                return port;
            }
        }

        throw new InvalidOperationException($"No port from {First} to {First + Count - 1} is free.");
    }

    public static int[] Take(int count) => [.. Enumerable.Range(0, count).Select(static _ => Take())];

    private static bool IsFree(int port)
    {
        using var listener = new TcpListener(IPAddress.Loopback, port);
        try
        {
            listener.Start();
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
