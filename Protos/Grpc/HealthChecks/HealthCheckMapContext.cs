namespace Grpc.AspNetCore.HealthChecks;

/// <summary>One health check of the application, shown to the predicate of a service mapping.</summary>
public sealed class HealthCheckMapContext(string name, IEnumerable<string> tags)
{
    public string Name { get; } = name;

    public IEnumerable<string> Tags { get; } = tags;
}
