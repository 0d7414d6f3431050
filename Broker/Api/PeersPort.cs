using Broker.Cluster;
using Broker.Transport;
using Grpc.Core;
using Microsoft.AspNetCore.Connections;

namespace Broker.Api;

/// <summary>
/// The port at which brokers reach each other. What clients call is served there too, as brokers forward calls; the
/// peers' own services are served nowhere else, whatever a request says of its host.
/// </summary>
internal static class PeersPort
{
    private static readonly PathString[] PeerServices = ["/broker.v1.Peer", "/broker.v1.GroupPeer"];

    /// <param name="builder">The process.</param>
    /// <param name="door">Who serves a peer's connection, see <see cref="PeerListenerFactory"/>.</param>
    public static void AddPeersPort(
        this WebApplicationBuilder builder, Func<IServiceProvider, Action<PeerSocket, Action>> door)
    {
        builder.AddEndpointBeside(
            "Broker:PeerPort",
            "Broker:GrpcPort",
            "port for its peers",
            ClusterOptions.PeerPortOf,
            static (address, port) => new PeerEndPoint(address, port));
        builder.Services.AddSingleton<IConnectionListenerFactory>(provider => new PeerListenerFactory(
            (socket, known) => door(provider)(socket, known), provider.GetRequiredService<ILoggerFactory>()));
    }

    /// <summary>Refuses calls of the peers' protocol at the other ports. Before the services are mapped.</summary>
    public static void UsePeersPort(this WebApplication app)
    {
        var logger = app.Services.GetRequiredService<ILoggerFactory>().CreateLogger("Broker.Transport");
        app.Use((http, next) =>
        {
            if (!PeerServices.Any(service => http.Request.Path.StartsWithSegments(service, StringComparison.Ordinal))
                || http.Features.Get<CameByPeersPort>() is not null)
            {
                return next(http);
            }

            TransportEvents.PeerAtClientsPort(logger, $"{http.Connection.RemoteIpAddress}");
            http.Response.ContentType = "application/grpc";
            http.Response.Headers["grpc-status"] = $"{(int)StatusCode.FailedPrecondition}";
            http.Response.Headers["grpc-message"] = Uri.EscapeDataString(
                "This is a port for clients. Brokers talk to each other at a port of its own (Broker__PeerPort).");
            return Task.CompletedTask;
        });
    }
}
