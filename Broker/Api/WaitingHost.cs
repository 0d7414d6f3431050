using Broker.Cluster;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.ServiceDefaults;
using Broker.ServiceDefaults.Http;
using Broker.Storage;
using Broker.Transport;
using Grpc.Core;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Broker.Api;

/// <summary>
/// What a process is while it is no node of a cluster: one with a new disk that waits to be taken in, or one whose disk
/// was removed. Its endpoints are open, it is alive and not healthy, and every call is refused with the reason.
/// </summary>
internal static class WaitingHost
{
    /// <summary>True: the process is a node of a cluster now. False: it was told to stop.</summary>
    public static async Task<bool> TryPassAsync(string[] args)
    {
        var builder = ServiceBuilder.Create(args);
        builder.AddServiceDefaults(beginsTraces: false);
        var device = new PhysicalDevice();
        var options = ClusterOptions.From(builder.Configuration, device);
        if (!options.NodeId.IsNone && !options.IsRemoved)
        {
            return true;
        }

        builder.Services.AddStopGrace();
        builder.AddGrpcEndpoint("Broker:GrpcPort");
        builder.AddPeersPort(static provider => (socket, _) => PeerTransport.Refuse(
            socket,
            provider.GetRequiredService<Joining>().Obstacle,
            TimeProvider.System,
            provider.GetRequiredService<ILogger<Joining>>()));

        // gRPC would answer UNIMPLEMENTED for the services of a node, at which clients give up.
        builder.Services.AddGrpc(static options => options.IgnoreUnknownServices = true);
        using var store = OpenStore(device, options);
        builder.Services.AddSingleton(provider => new Joining(
            options, store, TimeProvider.System, provider.GetRequiredService<ILoggerFactory>()));
        builder.Services.AddSingleton<JoiningPeerService>();
        builder.Services.AddHealthChecks().AddCheck<WaitingHealthCheck>("membership");
        await using var app = builder.Build();
        app.UsePeersPort();
        app.MapDefaultEndpoints();
        app.MapGrpcService<JoiningPeerService>();
        var joining = app.Services.GetRequiredService<Joining>();

        // Clients try elsewhere.
        app.MapFallback(http => EarlyRefusal.AnswerAsync(http, Refusal.NotFormed(joining.Obstacle)));
        await app.StartAsync();
        var isTakenIn = await joining.RunAsync(app.Lifetime.ApplicationStopping);
        await app.StopAsync();
        return isTakenIn;
    }

    private static NodeStore OpenStore(IStorageDevice device, ClusterOptions options)
    {
        try
        {
            return NodeStore.Open(
                device,
                options.DataDirectory,
                options.NodeName,
                options.NodeId,
                options.DataShards,
                Guid.NewGuid,
                options.Roles);
        }
        catch (Exception exception) when (exception is StorageRefusedException or StorageCorruptException)
        {
            throw new StartupException(exception.Message, exception);
        }
    }
}

/// <summary>An operator's word reaches a node that waits; it belongs to nobody's streams yet.</summary>
internal sealed class JoiningPeerService(Joining joining) : Peer.PeerBase
{
    public override Task<InviteResponse> Invite(InviteRequest request, ServerCallContext context)
    {
        joining.Invite(request.Name, request.Addresses);
        return Task.FromResult(new InviteResponse { Hello = joining.Hello });
    }

    public override Task<RegisterResponse> Register(RegisterRequest request, ServerCallContext context) =>
        throw NotYet();

    private RpcException NotYet() => new(new Status(StatusCode.Unavailable, joining.Obstacle));
}

/// <summary>A process that is no node of a cluster serves nothing.</summary>
internal sealed class WaitingHealthCheck(Joining joining) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(
        HealthCheckContext context, CancellationToken cancellationToken = default) =>
        Task.FromResult(HealthCheckResult.Unhealthy(joining.Obstacle));
}
