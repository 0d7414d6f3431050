using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Diagnostics.HealthChecks;
using Microsoft.AspNetCore.Routing;

namespace Broker.ServiceDefaults;

/// <summary>
/// The addresses that every service has in every environment: the app model gives no environment to its services, so
/// they run in Production and are probed there.
/// </summary>
internal static class DefaultEndpoints
{
    public const string HealthPath = "/health";
    public const string AlivePath = "/alive";
    public const string MetricsPath = "/metrics";

    /// <summary>Checks with this tag say whether the process itself works; the others, whether it can serve.</summary>
    public const string LiveTag = "live";

    public static void Map(IEndpointRouteBuilder endpoints)
    {
        endpoints.MapHealthChecks(HealthPath).DisableHttpMetrics();
        endpoints.MapHealthChecks(
            AlivePath, new HealthCheckOptions { Predicate = check => check.Tags.Contains(LiveTag) })
            .DisableHttpMetrics();
        endpoints.MapPrometheusScrapingEndpoint(MetricsPath).DisableHttpMetrics();
    }
}
