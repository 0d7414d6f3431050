using Aspire.Hosting.Eventing;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Aspire.Hosting.Local;

/// <summary>What every controller of a resource needs.</summary>
internal sealed record EngineServices(
    DistributedApplicationModel Model,
    DataRoot Root,
    ResourceNotificationService Notifications,
    IDistributedApplicationEventing Eventing,
    DistributedApplicationExecutionContext Execution,
    HealthCheckService Health,
    TimeProvider Time,
    IServiceProvider Provider);
