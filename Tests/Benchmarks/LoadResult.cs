using System.Text;
using System.Text.Json;

namespace Broker.Tests.Benchmarks;

/// <summary>What one load saw. As JSON it is the line that docs/BENCHMARKS.md describes.</summary>
internal sealed record LoadResult
{
    public required string Mode { get; init; }

    public int SizeBytes { get; init; }

    public int Window { get; init; }

    public long Messages { get; init; }

    public long Errors { get; init; }

    public double Seconds { get; init; }

    public double ClientCpuSeconds { get; init; }

    /// <summary>Of this process.</summary>
    public double? AllocatedBytesPerMessage { get; init; }

    public LatencyLog? Latencies { get; init; }

    public double? Rate { get; init; }

    /// <summary>Longest time between two answers, and when it began.</summary>
    public (double LengthMs, double AtSeconds)? Gap { get; init; }

    public double MessagesPerSecond => Seconds > 0 ? Messages / Seconds : 0;

    public double MegabytesPerSecond => MessagesPerSecond * SizeBytes / 1e6;

    public string ToJson()
    {
        using var bytes = new MemoryStream();
        using (var json = new Utf8JsonWriter(bytes))
        {
            json.WriteStartObject();
            json.WriteString("mode", Mode);
            json.WriteNumber("size", SizeBytes);
            json.WriteNumber("window", Window);
            json.WriteNumber("msgs", Messages);
            json.WriteNumber("errors", Errors);
            json.WriteNumber("secs", Math.Round(Seconds, 4));
            json.WriteNumber("msgs_per_s", Math.Round(MessagesPerSecond, 1));
            json.WriteNumber("MBps", Math.Round(MegabytesPerSecond, 2));
            json.WriteNumber("client_cpu_s", Math.Round(ClientCpuSeconds, 3));
            if (AllocatedBytesPerMessage is { } allocated)
            {
                json.WriteNumber("alloc_per_msg", Math.Round(allocated, 1));
            }

            if (Latencies is { Count: > 0 } latencies)
            {
                json.WriteNumber("us_p50", latencies.Microseconds(0.5));
                json.WriteNumber("us_p99", latencies.Microseconds(0.99));
                json.WriteNumber("us_p999", latencies.Microseconds(0.999));
                json.WriteNumber("us_max", latencies.Microseconds(1));
            }

            if (Rate is { } rate)
            {
                json.WriteNumber("rate", rate);
            }

            if (Gap is { } gap)
            {
                json.WriteNumber("gap_ms", Math.Round(gap.LengthMs, 1));
                json.WriteNumber("gap_at_s", Math.Round(gap.AtSeconds, 2));
            }

            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(bytes.ToArray());
    }
}
