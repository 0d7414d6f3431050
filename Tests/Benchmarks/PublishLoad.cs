using System.Diagnostics;
using Broker.Client;

namespace Broker.Tests.Benchmarks;

/// <summary>Publishes as fast as a window allows; with a window of 1, one at a time.</summary>
internal static class PublishLoad
{
    private const int MakeAtATime = 256;

    public static readonly TimeSpan WarmUpDuration = TimeSpan.FromMilliseconds(300);

    public static Task<LoadResult> OneAtATimeAsync(
        LoadSettings settings, BrokerClient client, CancellationToken cancellationToken) =>
        RunAsync("sync", settings with { Window = 1 }, client, cancellationToken);

    public static Task<LoadResult> PipelinedAsync(
        LoadSettings settings, BrokerClient client, CancellationToken cancellationToken) =>
        RunAsync("async", settings, client, cancellationToken);

    public static Task<LoadResult> RunAsync(
        string mode, LoadSettings settings, BrokerClient client, CancellationToken cancellationToken)
    {
        var message = new BrokerMessage { Value = Payload(settings.SizeBytes) };
        return RunAsync(
            mode,
            settings,
            number => client.PublishAsync(
                settings.Topics[(int)(number % settings.Topics.Count)], message, CancellationToken.None),
            cancellationToken);
    }

    /// <summary>The same load for whatever answers a publish, which is given its number.</summary>
    public static async Task<LoadResult> RunAsync<TAck>(
        string mode, LoadSettings settings, Func<long, ValueTask<TAck>> publish, CancellationToken cancellationToken)
    {
        var ring = new (ValueTask<TAck> Ack, long At)[settings.Window];
        var latencies = new LatencyLog();
        long published = 0, answered = 0, errors = 0;
        var cpu = Environment.CpuUsage.TotalTime;
        var begun = Stopwatch.GetTimestamp();
        var end = begun + (long)(settings.Duration.TotalSeconds * Stopwatch.Frequency);
        var last = begun;
        while (true)
        {
            if (last < end)
            {
                for (; published - answered < ring.Length; published++)
                {
                    ring[published % ring.Length] = (publish(published), Stopwatch.GetTimestamp());
                }
            }
            else if (published == answered)
            {
                break;
            }

            do
            {
                var (ack, at) = ring[answered++ % ring.Length];
                try
                {
                    await ack;
                    last = Stopwatch.GetTimestamp();
                    latencies.Add(last - at);
                }
                catch (Exception error) when (error is BrokerClientException or IOException)
                {
                    last = Stopwatch.GetTimestamp();
                    if (errors++ == 0)
                    {
                        await Console.Error.WriteLineAsync(error.Message);
                    }
                }
            }
            while (answered < published && ring[answered % ring.Length].Ack.IsCompleted);

            cancellationToken.ThrowIfCancellationRequested();
        }

        return new LoadResult
        {
            Mode = mode,
            SizeBytes = settings.SizeBytes,
            Window = settings.Window,
            Messages = answered - errors,
            Errors = errors,
            Seconds = Stopwatch.GetElapsedTime(begun, last).TotalSeconds,
            ClientCpuSeconds = (Environment.CpuUsage.TotalTime - cpu).TotalSeconds,
            Latencies = latencies,
        };
    }

    /// <summary>
    /// A few thousand messages to another topic, so that neither compiler nor first connection is measured.
    /// </summary>
    public static async Task WarmUpAsync(
        LoadSettings settings, BrokerClient client, CancellationToken cancellationToken)
    {
        var warm = settings with
        {
            Topics = [.. settings.Topics.Select(topic => $"{topic}.warm")],
            Window = Math.Min(settings.Window, 256),
            Duration = WarmUpDuration,
        };
        await RunAsync("warm", warm, client, cancellationToken);

        // What they left would keep the beginning of a log, however short the measured topic is kept.
        foreach (var topic in warm.Topics)
        {
            await client.DeleteTopicAsync(topic, cancellationToken);
        }
    }

    /// <summary>
    /// Publishes so many messages, each by its number from 0, with up to so many unanswered; until all are answered.
    /// </summary>
    public static async Task AllAsync<TAck>(long count, int unanswered, Func<long, ValueTask<TAck>> publish)
    {
        var ring = new ValueTask<TAck>[unanswered];
        for (var i = 0L; i < count + ring.Length; i++)
        {
            if (i >= ring.Length && i - ring.Length < count)
            {
                await ring[i % ring.Length];
            }

            if (i < count)
            {
                ring[i % ring.Length] = publish(i);
            }
        }
    }

    /// <summary>Makes topics, many at a time.</summary>
    public static Task MakeTopicsAsync(
        BrokerClient client, IReadOnlyList<string> topics, CancellationToken cancellationToken) =>
        AllAsync(topics.Count, MakeAtATime, async number =>
        {
            await client.CreateTopicAsync(topics[(int)number], cancellationToken: cancellationToken);
            return true;
        });

    public static byte[] Payload(int sizeBytes)
    {
        var payload = new byte[Math.Max(sizeBytes, sizeof(long))];
        payload.AsSpan().Fill((byte)'x');
        return payload;
    }
}
