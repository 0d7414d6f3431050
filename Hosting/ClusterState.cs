using Aspire.Hosting;
using Aspire.Hosting.ApplicationModel;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Broker.Hosting;

/// <summary>
/// The orchestrator tells the state of each node; that of the cluster is told here. It is healthy when a majority of
/// its nodes is: then it serves, so that whoever waits for it may start also while a node is away.
/// </summary>
internal static class ClusterState
{
    public static IResourceBuilder<BrokerResource> WithClusterState(this IResourceBuilder<BrokerResource> builder)
    {
        var (cluster, check) = (builder.Resource, $"{builder.Resource.Name}_check");
        builder.ApplicationBuilder.Services.AddHealthChecks().Add(new HealthCheckRegistration(
            check,
            services => new MajorityCheck(cluster, services.GetRequiredService<ResourceNotificationService>()),
            failureStatus: null,
            tags: null));
        return builder.WithHealthCheck(check).OnInitializeResource(static async (cluster, begun, token) =>
        {
            // Known as soon as the nodes have their ports.
            await cluster.ConnectionStringExpression.GetValueAsync(token);
            await begun.Eventing.PublishAsync(new ConnectionStringAvailableEvent(cluster, begun.Services), token);
            await begun.Eventing.PublishAsync(new BeforeResourceStartedEvent(cluster, begun.Services), token);
            await begun.Notifications.PublishUpdateAsync(cluster, static snapshot => snapshot with
            {
                State = KnownResourceStates.Running,
            });
        });
    }

    private sealed class MajorityCheck(BrokerResource cluster, ResourceNotificationService notifications) : IHealthCheck
    {
        public Task<HealthCheckResult> CheckHealthAsync(
            HealthCheckContext context, CancellationToken cancellationToken = default)
        {
            var healthy = cluster.Nodes.Count(node =>
                notifications.TryGetCurrentState(node.Name, out var current)
                && current.Snapshot.State?.Text == KnownResourceStates.Running
                && current.Snapshot.HealthStatus == HealthStatus.Healthy);
            var text = $"{healthy} of {cluster.Nodes.Count} nodes are healthy.";
            return Task.FromResult(healthy > cluster.Nodes.Count / 2
                ? HealthCheckResult.Healthy(text)
                : HealthCheckResult.Unhealthy(text));
        }
    }
}
