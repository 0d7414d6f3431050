using System.Buffers;
using Broker.ServiceDefaults.Prometheus;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Diagnostics.HealthChecks;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

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
        endpoints.MapGet(MetricsPath, WriteMetricsAsync).DisableHttpMetrics();
    }

    private static async Task WriteMetricsAsync(HttpContext context)
    {
        var exporter = context.RequestServices.GetRequiredService<PrometheusExporter>();
        var text = new ArrayBufferWriter<byte>(64 * 1024);
        exporter.Write(text);
        context.Response.ContentType = PrometheusExporter.ContentType;
        context.Response.ContentLength = text.WrittenCount;
        context.Response.Headers.CacheControl = "no-store";
        await context.Response.Body.WriteAsync(text.WrittenMemory, context.RequestAborted).ConfigureAwait(false);
    }
}
