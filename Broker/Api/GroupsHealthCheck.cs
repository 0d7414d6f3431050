using Broker.Cluster;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Broker.Api;

/// <summary>Healthy while every group knows a leader: a publish to any topic would be taken.</summary>
internal sealed class GroupsHealthCheck(BrokerNode node) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(
        HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        var leaderless = node.Groups.Where(group => group.Status.Leader.IsNone).Select(group => group.Id).ToList();
        return Task.FromResult(leaderless.Count == 0
            ? HealthCheckResult.Healthy()
            : HealthCheckResult.Unhealthy($"No leader is known for group {string.Join(", ", leaderless)}."));
    }
}
