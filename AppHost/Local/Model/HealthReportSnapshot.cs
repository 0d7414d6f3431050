using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Aspire.Hosting.ApplicationModel;

/// <summary>The last result of one health check; a null status means that it has not run yet.</summary>
public sealed record HealthReportSnapshot(
    string Name, HealthStatus? Status, string? Description, string? ExceptionText);
