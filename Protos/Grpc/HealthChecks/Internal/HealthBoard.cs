using System.Collections.Concurrent;
using System.Threading.Channels;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using static Grpc.Health.V1.HealthCheckResponse.Types;

namespace Grpc.AspNetCore.HealthChecks.Internal;

/// <summary>
/// Keeps the health report that was published last, and tells those who watch a service of its status.
/// </summary>
internal sealed class HealthBoard
{
    private readonly ConcurrentDictionary<ChannelWriter<ServingStatus>, ServiceMapping> _watchers = new();

    /// <summary>Null until the first report, which comes seconds after the start.</summary>
    public HealthReport? Latest { get; private set; }

    public void Publish(HealthReport report)
    {
        Latest = report;
        foreach (var (watcher, mapping) in _watchers)
        {
            watcher.TryWrite(StatusOf(report, mapping));
        }
    }

    public void Add(ChannelWriter<ServingStatus> watcher, ServiceMapping mapping) => _watchers[watcher] = mapping;

    public void Remove(ChannelWriter<ServingStatus> watcher) => _watchers.TryRemove(watcher, out _);

    /// <summary>A degraded service serves; one without any health check is of unknown health.</summary>
    public static ServingStatus StatusOf(HealthReport report, ServiceMapping mapping)
    {
        var status = ServingStatus.Unknown;
        foreach (var (name, entry) in report.Entries)
        {
            if (mapping.Predicate(new HealthCheckMapContext(name, entry.Tags)))
            {
                if (entry.Status == HealthStatus.Unhealthy)
                {
                    return ServingStatus.NotServing;
                }

                status = ServingStatus.Serving;
            }
        }

        return status;
    }
}
