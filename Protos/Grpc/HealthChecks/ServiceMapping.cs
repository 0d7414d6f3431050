namespace Grpc.AspNetCore.HealthChecks;

/// <summary>The health checks that make up the health of one service name.</summary>
public sealed class ServiceMapping(string name, Func<HealthCheckMapContext, bool> predicate)
{
    public string Name { get; } = name;

    internal Func<HealthCheckMapContext, bool> Predicate { get; } = predicate;
}
