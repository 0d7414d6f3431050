using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Grpc.AspNetCore.HealthChecks.Internal;

/// <summary>
/// Brings the application's periodic health reports (HealthCheckPublisherOptions: every 30 s) to the board.
/// </summary>
internal sealed class HealthBoardPublisher(HealthBoard board) : IHealthCheckPublisher
{
    public Task PublishAsync(HealthReport report, CancellationToken cancellationToken)
    {
        board.Publish(report);
        return Task.CompletedTask;
    }
}
