using System.Collections.Immutable;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Aspire.Hosting.ApplicationModel;

/// <summary>A resource at one moment.</summary>
public sealed record CustomResourceSnapshot
{
    public required string ResourceType { get; init; }

    public required ImmutableArray<ResourcePropertySnapshot> Properties { get; init; }

    public DateTime? CreationTimeStamp { get; init; }

    public DateTime? StartTimeStamp { get; init; }

    public DateTime? StopTimeStamp { get; init; }

    public ResourceStateSnapshot? State { get; init; }

    public int? ExitCode { get; init; }

    public ImmutableArray<HealthReportSnapshot> HealthReports { get; init; } = [];

    public ImmutableArray<UrlSnapshot> Urls { get; init; } = [];

    /// <summary>Null unless the resource runs; without health checks a running resource is healthy.</summary>
    public HealthStatus? HealthStatus
    {
        get
        {
            if (State?.Text != KnownResourceStates.Running)
            {
                return null;
            }

            return HealthReports.Length == 0
                ? Microsoft.Extensions.Diagnostics.HealthChecks.HealthStatus.Healthy
                : HealthReports.Min(
                    r => r.Status ?? Microsoft.Extensions.Diagnostics.HealthChecks.HealthStatus.Unhealthy);
        }
    }
}
