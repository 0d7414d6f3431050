using System.Diagnostics;
using OpenTelemetry;

namespace Broker.ServiceDefaults.Telemetry;

/// <summary>
/// Leaves requests to /health, /alive and /metrics out of the traces: they come every few seconds and say nothing. It
/// stands before the exporter, which skips what is not marked as recorded.
/// </summary>
internal sealed class ProbeFilter : BaseProcessor<Activity>
{
    private static readonly string[] Paths =
        [DefaultEndpoints.HealthPath, DefaultEndpoints.AlivePath, DefaultEndpoints.MetricsPath];

    public override void OnEnd(Activity data)
    {
        if (data.Kind == ActivityKind.Server && data.GetTagItem("url.path") is string path
            && Array.Exists(Paths, probe => string.Equals(probe, path, StringComparison.OrdinalIgnoreCase)))
        {
            data.ActivityTraceFlags &= ~ActivityTraceFlags.Recorded;
        }
    }
}
