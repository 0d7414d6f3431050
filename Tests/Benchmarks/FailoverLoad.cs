using System.Diagnostics;
using Broker.Client;

namespace Broker.Tests.Benchmarks;

/// <summary>
/// Publishes one at a time with a pause of half a millisecond while somebody else kills the leader, and tells the
/// longest time between two answers. The client retries by itself: a publish fails only without a leader for 30 s.
/// </summary>
internal static class FailoverLoad
{
    public static Task<LoadResult> RunAsync(
        LoadSettings settings, BrokerClient client, CancellationToken cancellationToken)
    {
        var message = new BrokerMessage { Value = PublishLoad.Payload(settings.SizeBytes) };
        return RunAsync(
            settings, () => client.PublishAsync(settings.Topics[0], message, cancellationToken), cancellationToken);
    }

    /// <summary>The same load for whatever answers a publish and retries by itself.</summary>
    public static async Task<LoadResult> RunAsync<TAck>(
        LoadSettings settings, Func<ValueTask<TAck>> publish, CancellationToken cancellationToken)
    {
        var latencies = new LatencyLog();
        long acked = 0, errors = 0, gap = 0, gapAt = 0;
        var cpu = Environment.CpuUsage.TotalTime;
        var begun = Stopwatch.GetTimestamp();
        var end = begun + (long)(settings.Duration.TotalSeconds * Stopwatch.Frequency);
        var last = begun;
        while (Stopwatch.GetTimestamp() is var sent && sent < end)
        {
            try
            {
                await publish();
                var now = Stopwatch.GetTimestamp();
                latencies.Add(now - sent);
                (gap, gapAt) = acked > 0 && now - last > gap ? (now - last, last) : (gap, gapAt);
                last = now;
                acked++;
            }
            catch (Exception error) when (error is BrokerClientException or IOException)
            {
                errors++;
                await Console.Error.WriteLineAsync(error.Message);
            }

            PreciseClock.SleepUntil(Stopwatch.GetTimestamp() + (Stopwatch.Frequency / 2_000));
        }

        // No answer up to the end counts as a gap too.
        var ended = Stopwatch.GetTimestamp();
        (gap, gapAt) = ended - last > gap ? (ended - last, last) : (gap, gapAt);
        return new LoadResult
        {
            Mode = "failover",
            SizeBytes = settings.SizeBytes,
            Window = 1,
            Messages = acked,
            Errors = errors,
            Seconds = Stopwatch.GetElapsedTime(begun, ended).TotalSeconds,
            ClientCpuSeconds = (Environment.CpuUsage.TotalTime - cpu).TotalSeconds,
            Latencies = latencies,
            Gap = (gap * 1e3 / Stopwatch.Frequency, Stopwatch.GetElapsedTime(begun, gapAt).TotalSeconds),
        };
    }
}
