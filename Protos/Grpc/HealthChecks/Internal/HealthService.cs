using System.Threading.Channels;
using Grpc.Core;
using Grpc.Health.V1;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using static Grpc.Health.V1.HealthCheckResponse.Types;

namespace Grpc.AspNetCore.HealthChecks.Internal;

/// <summary>grpc.health.v1.Health over the application's own health checks.</summary>
internal sealed class HealthService(
    HealthBoard board,
    HealthCheckService checks,
    IOptions<GrpcHealthChecksOptions> options,
    IHostApplicationLifetime lifetime)
    : Health.V1.Health.HealthBase
{
    public override async Task<HealthCheckResponse> Check(HealthCheckRequest request, ServerCallContext context)
    {
        if (!options.Value.Services.TryGet(request.Service, out var mapping))
        {
            throw new RpcException(new Status(
                StatusCode.NotFound, $"This server does not tell the health of '{request.Service}'."));
        }

        return new HealthCheckResponse { Status = await FindStatusAsync(mapping, context.CancellationToken) };
    }

    public override async Task Watch(
        HealthCheckRequest request, IServerStreamWriter<HealthCheckResponse> responseStream, ServerCallContext context)
    {
        // A slow watcher gets the newest status and misses those before.
        var statuses = Channel.CreateBounded<ServingStatus>(
            new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropOldest });
        using var stopping = options.Value.SuppressCompletionOnShutdown
            ? default
            : lifetime.ApplicationStopping.UnsafeRegister(End, statuses.Writer);
        try
        {
            var status = ServingStatus.ServiceUnknown;
            if (options.Value.Services.TryGet(request.Service, out var mapping))
            {
                board.Add(statuses.Writer, mapping);
                status = await FindStatusAsync(mapping, context.CancellationToken);
            }

            await responseStream.WriteAsync(new HealthCheckResponse { Status = status });
            await foreach (var next in statuses.Reader.ReadAllAsync(context.CancellationToken))
            {
                if (next != status)
                {
                    status = next;
                    await responseStream.WriteAsync(new HealthCheckResponse { Status = status });
                }
            }
        }
        finally
        {
            board.Remove(statuses.Writer);
        }
    }

    private static void End(object? state)
    {
        var writer = (ChannelWriter<ServingStatus>)state!;
        writer.TryWrite(ServingStatus.NotServing);
        writer.TryComplete();
    }

    private async ValueTask<ServingStatus> FindStatusAsync(ServiceMapping mapping, CancellationToken cancellationToken)
    {
        var report = options.Value.UseHealthChecksCache && board.Latest is { } latest
            ? latest
            : await checks.CheckHealthAsync(
                check => mapping.Predicate(new HealthCheckMapContext(check.Name, check.Tags)), cancellationToken);
        return HealthBoard.StatusOf(report, mapping);
    }
}
