using System.Globalization;
using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Configuration;

namespace Broker.ServiceDefaults;

/// <summary>
/// Two kinds of ports in one Kestrel: cleartext HTTP/2 needs one of its own, as without TLS the protocol cannot be
/// negotiated.
/// </summary>
internal static class GrpcEndpoint
{
    /// <summary>
    /// The window of a connection bounds what all its streams have in flight towards us. Peers send 4 MiB of log
    /// entries ahead (Limits.InFlightBytesPerFollower) per group on one connection; Kestrel's 1 MiB would make the
    /// groups wait for each other.
    /// </summary>
    private const int ConnectionWindowBytes = 16 * 1024 * 1024;

    /// <summary>One stream may fill a follower's whole window; Kestrel's default is 768 KiB.</summary>
    private const int StreamWindowBytes = 4 * 1024 * 1024;

    /// <summary>
    /// An append of 1 MiB is then one frame, not sixty-four of 16 KiB. Frames of one connection take turns, so a
    /// heartbeat waits for at most one of them: about a millisecond.
    /// </summary>
    private const int FrameBytes = 1024 * 1024;

    /// <summary>Kestrel's 100 would make the 101st reader on a shared connection wait until another leaves.</summary>
    private const int StreamsPerConnection = 10_000;

    public static void Add(WebApplicationBuilder builder, string configurationKey)
    {
        builder.WebHost.ConfigureKestrel(kestrel => Tune(kestrel.Limits.Http2));
        if (Port(builder.Configuration, configurationKey) is not { } port)
        {
            return;
        }

        // Kestrel ignores the configured addresses as soon as one is added in code, so they are all added in code.
        var addresses = ListenAddresses.Http(builder.Configuration);
        var grpc = ListenAddresses.Grpc(builder.Configuration, HostKey(configurationKey), port);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            foreach (var address in addresses)
            {
                Listen(kestrel, address, protocols: null);
            }

            Listen(kestrel, grpc, HttpProtocols.Http2);
        });
        BindingServer.Decorate(builder.Services, new PortSetting(configurationKey, "gRPC port", port));
    }

    /// <summary>One more port, see ServiceDefaultsExtensions.AddEndpointBeside.</summary>
    public static void AddBeside(
        WebApplicationBuilder builder,
        string configurationKey,
        string grpcKey,
        string name,
        Func<int, int> defaultPort,
        Func<IPAddress, int, IPEndPoint> endPoint)
    {
        var grpcPort = Port(builder.Configuration, grpcKey);
        var port = Port(builder.Configuration, configurationKey);
        if (grpcPort is null)
        {
            if (port is not null)
            {
                throw new StartupException(
                    $"The setting {configurationKey} is {port}, but {grpcKey} is not set: set it too.");
            }

            return;
        }

        port ??= defaultPort(grpcPort.Value);
        var address = ListenAddresses.Grpc(builder.Configuration, HostKey(configurationKey), port.Value);
        var ip = IPAddress.TryParse(address.Host.Trim('[', ']'), out var named) ? named
            : ListenAddresses.IsLocalName(address.Host) ? IPAddress.Loopback
            : System.Net.Sockets.Socket.OSSupportsIPv6 ? IPAddress.IPv6Any
            : IPAddress.Any;
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(
            endPoint(ip, port.Value), static options => options.Protocols = HttpProtocols.Http2));
        BindingServer.Decorate(builder.Services, new PortSetting(configurationKey, name, port.Value));
    }

    private static void Tune(Http2Limits limits)
    {
        limits.InitialConnectionWindowSize = ConnectionWindowBytes;
        limits.InitialStreamWindowSize = StreamWindowBytes;
        limits.MaxFrameSize = FrameBytes;
        limits.MaxStreamsPerConnection = StreamsPerConnection;
    }

    /// <summary>Broker:GrpcPort has Broker:GrpcHost beside it.</summary>
    private static string HostKey(string portKey) => portKey[..^"Port".Length] + "Host";

    private static int? Port(ConfigurationManager configuration, string key)
    {
        var text = configuration[key];
        if (string.IsNullOrWhiteSpace(text))
        {
            return null;
        }

        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var port)
            && port is >= 0 and <= IPEndPoint.MaxPort
            ? port
            : throw new StartupException(
                $"The setting {key} is '{text}'. It must be a port number from 1 to 65535, or 0 for a free one "
                + $"(environment variable {ListenAddresses.VariableOf(key)}).");
    }

    private static void Listen(KestrelServerOptions kestrel, BindingAddress address, HttpProtocols? protocols)
    {
        void Configure(ListenOptions options)
        {
            if (protocols is { } chosen)
            {
                options.Protocols = chosen;
            }

            if (address.Scheme == Uri.UriSchemeHttps)
            {
                options.UseHttps();
            }
        }

        var local = ListenAddresses.IsLocalName(address.Host);
        if (address.IsUnixPipe)
        {
            kestrel.ListenUnixSocket(address.UnixPipePath, Configure);
        }
        else if (IPAddress.TryParse(address.Host.Trim('[', ']'), out var ip) || (local && address.Port == 0))
        {
            // A free port cannot be the same on both loopback addresses, so Kestrel has no localhost:0.
            kestrel.Listen(ip ?? IPAddress.Loopback, address.Port, Configure);
        }
        else if (local)
        {
            kestrel.ListenLocalhost(address.Port, Configure);
        }
        else
        {
            kestrel.ListenAnyIP(address.Port, Configure);
        }
    }
}
