using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Broker.Client;

/// <summary>
/// Whether the brokers can work for this program. Healthy: one answers, and the shards that it has a replica of have a
/// leader. Degraded: some have none, so that their topics take nothing at the moment. Unhealthy (or what the check is
/// registered with): none answers in time.
/// </summary>
/// <param name="admin">Who asks the brokers.</param>
/// <param name="timeout">How long one check may take. Null: 3 s.</param>
public sealed class BrokerHealthCheck(IBrokerAdmin admin, TimeSpan? timeout = null) : IHealthCheck
{
    private static readonly TimeSpan DefaultTimeout = TimeSpan.FromSeconds(3);

    private readonly TimeSpan _timeout = timeout ?? DefaultTimeout;

    /// <inheritdoc/>
    public async Task<HealthCheckResult> CheckHealthAsync(
        HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(context);
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(_timeout);
        try
        {
            var cluster = await admin.DescribeClusterAsync(patience.Token);

            // Of a shard that the node has no replica of it may not have heard.
            var orphans = cluster.Shards.Count(
                shard => shard.Leader == 0 && shard.Voters.Contains(cluster.ThisNode));
            return orphans == 0
                ? HealthCheckResult.Healthy($"A broker of {cluster.Nodes.Count} answers.")
                : HealthCheckResult.Degraded(
                    $"{orphans} of {cluster.Shards.Count} shards have no leader: their topics take nothing now.");
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return new HealthCheckResult(
                context.Registration.FailureStatus, $"No broker answered in {_timeout.TotalSeconds:0.###} s.");
        }
        catch (Exception failure) when (failure is BrokerClientException or ObjectDisposedException)
        {
            return new HealthCheckResult(context.Registration.FailureStatus, failure.Message, failure);
        }
    }
}

/// <summary>Registers <see cref="BrokerHealthCheck"/>.</summary>
public static class BrokerHealthChecksBuilderExtensions
{
    /// <summary>
    /// Adds a check of the brokers, by the client that AddBrokerClient or AddKeyedBrokerClient has registered.
    /// </summary>
    /// <param name="builder">The health checks.</param>
    /// <param name="name">The check's name. Default "Broker.Client".</param>
    /// <param name="serviceKey">The key of a keyed client. Null, the default: the one without a key.</param>
    /// <param name="failureStatus">What it says when no broker answers. Null: Unhealthy, the default.</param>
    /// <param name="tags">Of the check. Null: none.</param>
    /// <param name="timeout">How long one check may take. Null: 3 s.</param>
    /// <returns>The health checks.</returns>
    public static IHealthChecksBuilder AddBrokerClient(
        this IHealthChecksBuilder builder,
        string name = "Broker.Client",
        object? serviceKey = null,
        HealthStatus? failureStatus = null,
        IEnumerable<string>? tags = null,
        TimeSpan? timeout = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        return builder.Add(new HealthCheckRegistration(
            name,
            provider => new BrokerHealthCheck(
                serviceKey is null
                    ? provider.GetRequiredService<IBrokerAdmin>()
                    : provider.GetRequiredKeyedService<IBrokerAdmin>(serviceKey),
                timeout),
            failureStatus,
            tags));
    }
}
