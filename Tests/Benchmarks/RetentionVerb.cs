using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Broker.Client;

namespace Broker.Tests.Benchmarks;

/// <summary>
/// Publishes far more to a topic with a limit than it keeps, behind an old record of another topic; tells what the
/// disks hold meanwhile, what it costs those who publish one message at a time, and how long all brokers take to be
/// back then. Beside it the same without a limit.
/// </summary>
internal static class RetentionVerb
{
    private const string Kept = "retention.kept";
    private const int SizeBytes = 1024;

    public static Command Create()
    {
        var seconds = NumberOption.Seconds(30, "Seconds of load, once without and once with the limit.");
        var freeSeconds = NumberOption.Make(
            "--free-secs", 0, 0, 100_000, "Seconds without the limit, where a disk takes less. 0: the same.");
        var keep = NumberOption.Make("--keep-mib", 64, 1, 100_000, "MiB that the topic with the limit keeps.");
        var command = new Command(
            "retention", "Measures disk and latency while a topic with a limit gets much more than it keeps.")
        {
            seconds, freeSeconds, keep,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            var length = TimeSpan.FromSeconds(parsed.GetValue(seconds));
            var freeLength = parsed.GetValue(freeSeconds) is > 0 and var free ? TimeSpan.FromSeconds(free) : length;
            Console.WriteLine(
                "| limit MiB | messages/s | published MiB | most on a disk MiB | at the end MiB | files | "
                + "others' p50 µs | p99 µs | p99.9 µs | all killed, next publish s |");
            Console.WriteLine("|---|---|---|---|---|---|---|---|---|---|");
            foreach (var limit in new[] { 0, parsed.GetValue(keep) })
            {
                await BrokerCluster.InTemporaryFolderAsync(
                    "retention",
                    folder => RunAsync(folder, limit, limit == 0 ? freeLength : length, cancellationToken));
            }

            return 0;
        });
        return command;
    }

    private static async Task RunAsync(
        string folder, int limitMib, TimeSpan length, CancellationToken cancellationToken)
    {
        await using var cluster = await BrokerCluster.StartBalancedAsync(folder, cancellationToken);
        await using var client = new BrokerClient(new BrokerClientOptions { Addresses = cluster.Addresses });

        // Of the same shard: its first record lies before everything else there.
        var large = await FindNeighbourAsync(client, cancellationToken);
        await client.CreateTopicAsync(
            large, new TopicSettings { MaxBytes = (long)limitMib * 1024 * 1024 }, cancellationToken);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        stop.CancelAfter(length);
        var probe = new LatencyLog();
        var probing = ProbeAsync(client, probe, stop.Token, cancellationToken);
        var watching = WatchAsync(folder, stop.Token);
        var published = await LoadAsync(client, large, stop.Token, cancellationToken);
        await probing;
        var most = await watching;

        // What is behind comes to its end.
        await Task.Delay(TimeSpan.FromSeconds(10), cancellationToken);
        var (endBytes, files) = LargestOf(folder);
        await cluster.KillAllAsync();
        var killed = Stopwatch.GetTimestamp();
        await cluster.StartAsync([.. Enumerable.Range(0, BrokerCluster.Nodes)], cancellationToken);
        await client.PublishAsync(large, new BrokerMessage(), cancellationToken);
        var restarted = Stopwatch.GetElapsedTime(killed);
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"| {(limitMib == 0 ? "none" : limitMib)} | {published / length.TotalSeconds:N0} "
            + $"| {Mib(published * (double)SizeBytes):N0} | {Mib(Math.Max(most, endBytes)):N0} | {Mib(endBytes):N0} "
            + $"| {files} | {probe.Microseconds(0.5):N0} | {probe.Microseconds(0.99):N0} "
            + $"| {probe.Microseconds(0.999):N0} | {restarted.TotalSeconds:N2} |"));
    }

    private static async Task<string> FindNeighbourAsync(BrokerClient client, CancellationToken cancellationToken)
    {
        await client.PublishAsync(Kept, new BrokerMessage(), cancellationToken);
        var shard = (await client.DescribeTopicAsync(Kept, cancellationToken)).Topic.Shard;
        for (var i = 0; ; i++)
        {
            var name = $"retention.large.{i}";
            await client.CreateTopicAsync(name, cancellationToken: cancellationToken);
            var isNeighbour = (await client.DescribeTopicAsync(name, cancellationToken)).Topic.Shard == shard;
            await client.DeleteTopicAsync(name, cancellationToken);
            if (isNeighbour)
            {
                return name;
            }
        }
    }

    private static async Task<long> LoadAsync(
        BrokerClient client, string topic, CancellationToken stop, CancellationToken cancellationToken)
    {
        var message = new BrokerMessage { Value = PublishLoad.Payload(SizeBytes) };
        var ring = new ValueTask<PublishAck>[4_096];
        var count = 0L;
        for (; !stop.IsCancellationRequested; count++)
        {
            var slot = count % ring.Length;
            if (count >= ring.Length)
            {
                await ring[slot];
            }

            ring[slot] = client.PublishAsync(topic, message, cancellationToken);
        }

        for (var i = Math.Max(0, count - ring.Length); i < count; i++)
        {
            await ring[i % ring.Length];
        }

        return count;
    }

    private static async Task ProbeAsync(
        BrokerClient client, LatencyLog log, CancellationToken stop, CancellationToken cancellationToken)
    {
        var message = new BrokerMessage { Value = PublishLoad.Payload(SizeBytes) };
        while (!stop.IsCancellationRequested)
        {
            var begun = Stopwatch.GetTimestamp();
            await client.PublishAsync(Kept, message, cancellationToken);
            log.Add(Stopwatch.GetTimestamp() - begun);
            await Task.Delay(5, cancellationToken);
        }
    }

    public static async Task<long> WatchAsync(string folder, CancellationToken stop)
    {
        var most = 0L;
        while (!stop.IsCancellationRequested)
        {
            most = Math.Max(most, LargestOf(folder).Bytes);
            await Task.Delay(500, CancellationToken.None);
        }

        return most;
    }

    /// <summary>What the fullest of the nodes' folders holds.</summary>
    public static (long Bytes, int Files) LargestOf(string folder)
    {
        var (mostBytes, mostFiles) = (0L, 0);
        foreach (var node in new DirectoryInfo(folder).GetDirectories())
        {
            var files = node.GetFiles("*", SearchOption.AllDirectories);
            var bytes = files.Sum(static file => file.Exists ? file.Length : 0);
            (mostBytes, mostFiles) = bytes > mostBytes ? (bytes, files.Length) : (mostBytes, mostFiles);
        }

        return (mostBytes, mostFiles);
    }

    public static double Mib(double bytes) => bytes / (1024 * 1024);
}
