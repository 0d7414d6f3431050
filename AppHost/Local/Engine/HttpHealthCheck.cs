using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Aspire.Hosting.Local;

/// <summary>Asks an HTTP endpoint.</summary>
internal sealed class HttpHealthCheck(EndpointReference endpoint, string path, int expectedStatus) : IHealthCheck
{
    private static readonly HttpClient Client = new(
        new SocketsHttpHandler { PooledConnectionLifetime = TimeSpan.FromMinutes(1) })
    {
        Timeout = EngineLimits.HealthCheckTimeout,
    };

    public async Task<HealthCheckResult> CheckHealthAsync(
        HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        using var answer = await Client.GetAsync(new Uri(new Uri(endpoint.Url), path), cancellationToken);
        return (int)answer.StatusCode == expectedStatus
            ? HealthCheckResult.Healthy()
            : HealthCheckResult.Unhealthy($"{path} answers with status {(int)answer.StatusCode}.");
    }
}
