using System.Diagnostics;
using Broker.Client;

namespace Broker.Tests.Benchmarks;

/// <summary>Reads a topic back from its beginning, and checks that its offsets have no gap.</summary>
internal static class ReadLoad
{
    public static async Task<LoadResult> RunAsync(
        LoadSettings settings, BrokerClient client, CancellationToken cancellationToken)
    {
        long read = 0, gaps = 0, bytes = 0;
        var cpu = Environment.CpuUsage.TotalTime;
        var begun = Stopwatch.GetTimestamp();
        foreach (var topic in settings.Topics)
        {
            long expected = 0;
            var options = new ReadOptions { MaxRecords = (int)Math.Min(settings.Messages - read, int.MaxValue) };
            await foreach (var record in client.ReadAsync(topic, options, cancellationToken))
            {
                gaps += record.Offset == expected ? 0 : 1;
                expected = record.Offset + 1;
                bytes += record.Value.Length;
                read++;
            }

            if (read >= settings.Messages)
            {
                break;
            }
        }

        return new LoadResult
        {
            Mode = "consume",
            SizeBytes = read == 0 ? settings.SizeBytes : (int)(bytes / read),
            Messages = read,
            Errors = gaps + Math.Max(0, settings.Messages - read),
            Seconds = Stopwatch.GetElapsedTime(begun).TotalSeconds,
            ClientCpuSeconds = (Environment.CpuUsage.TotalTime - cpu).TotalSeconds,
        };
    }
}
