using System.Diagnostics;
using OpenTelemetry.Trace;

namespace Broker.ServiceDefaults.Telemetry;

/// <summary>
/// Which traces begin here: those of requests that bring none of their own, up to so many a second. What a service does
/// by itself (polls, heartbeats, the streams to its peers) begins none: it would bury the requests. For a
/// ParentBasedSampler, which goes on with a trace that a request brings, and leaves out what its caller left out.
/// </summary>
internal sealed class RequestSampler(int tracesPerSecond, TimeProvider time) : Sampler
{
    private readonly Lock _lock = new();
    private long _second;
    private int _taken;

    public override SamplingResult ShouldSample(in SamplingParameters samplingParameters) => new(
        samplingParameters.Kind == ActivityKind.Server && TryTake()
            ? SamplingDecision.RecordAndSample
            : SamplingDecision.Drop);

    private bool TryTake()
    {
        var second = time.GetTimestamp() / time.TimestampFrequency;
        lock (_lock)
        {
            if (second != _second)
            {
                (_second, _taken) = (second, 0);
            }

            return ++_taken <= tracesPerSecond;
        }
    }
}
