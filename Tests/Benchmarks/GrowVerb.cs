using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Broker.Client;
using Broker.Tests.Scenarios;

namespace Broker.Tests.Benchmarks;

/// <summary>
/// What it costs to grow a cluster of three nodes that hold data to five, and to remove the first three: how long each
/// step takes, and what those who publish all the while see of it. At the end every message must be there.
/// </summary>
internal static class GrowVerb
{
    private const int SizeBytes = 1024;
    private const int Shards = 3;

    private static readonly string[] Topics = [.. Enumerable.Range(0, 12).Select(static i => $"grow.{i}")];

    public static Command Create()
    {
        var data = NumberOption.Make("--mib", 512, 1, 100_000, "MiB of messages that the three nodes hold before.");
        var seconds = NumberOption.Seconds(10, "Seconds in which nothing moves, at the beginning and at the end.");
        var publishers = NumberOption.Make("--publishers", 16, 1, 1_024, "Each publishes one message at a time.");
        var replicas = new Option<bool>("--replicas")
        {
            Description = "Only the three nodes that vote in a shard keep its records. Default: all keep them.",
        };
        var command = new Command("grow", "Grows a cluster from three nodes to five and removes the first three.")
        {
            data, seconds, publishers, replicas,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            await RunAsync(
                parsed.GetValue(data),
                TimeSpan.FromSeconds(parsed.GetValue(seconds)),
                parsed.GetValue(publishers),
                parsed.GetValue(replicas),
                cancellationToken);
            return 0;
        });
        return command;
    }

    private static async Task RunAsync(
        int mib, TimeSpan quiet, int publishers, bool replicas, CancellationToken cancellationToken)
    {
        int[] five = [1, 2, 3, 4, 5];
        await using var brokers = new Brokers(founders: 3, shards: Shards);
        await brokers.FormAsync();
        await using var client = brokers.Connect(five);
        await (replicas
            ? client.SetShardReplicasAsync(3, cancellationToken)
            : client.SetShardVotersAsync(3, cancellationToken));
        await brokers.UntilAllVoteAsync(five[..3], 3);
        var message = new BrokerMessage { Value = PublishLoad.Payload(SizeBytes) };
        var held = mib * 1024L * 1024 / SizeBytes;
        await PublishLoad.AllAsync(held, 4_096, number => client.PublishAsync(
            Topics[(int)(number % Topics.Length)], message, cancellationToken));

        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var load = new Load(client, message, five.Select(brokers.FolderOf));
        var loads = Enumerable.Range(0, publishers).Select(number => load.RunAsync(number, stop.Token)).ToList();

        // Of code that is being compiled.
        await Task.Delay(quiet, cancellationToken);
        Console.WriteLine(
            $"{held:N0} messages of {SizeBytes} B are there; {publishers} publishers, one message at a time each.");
        Console.WriteLine(
            "| step | seconds | msgs/s | of before | p50 ms | p99 ms | longest ms | MiB on all disks |");
        Console.WriteLine("|---|---|---|---|---|---|---|---|");
        await load.MeasureAsync("nothing moves", () => Task.Delay(quiet, cancellationToken));
        foreach (var node in five[3..])
        {
            await load.MeasureAsync(
                $"node {node} joins, gets all and votes",
                () =>
                {
                    brokers.StartJoining(node, 1, 2, 3);
                    return brokers.UntilAllVoteAsync(five[..node], 3);
                });
        }

        if (replicas)
        {
            await load.MeasureAsync("others give records up", () => load.UntilDisksAreEvenAsync(cancellationToken));
        }

        await load.MeasureAsync("nothing moves, five nodes", () => Task.Delay(quiet, cancellationToken));
        foreach (var node in five[..3])
        {
            await load.MeasureAsync(
                $"node {node} is removed", async () => await client.RemoveNodeAsync(node, cancellationToken));
        }

        await brokers.UntilAllVoteAsync([4, 5], 2);
        await load.MeasureAsync("nothing moves, the last two", () => Task.Delay(quiet, cancellationToken));
        await stop.CancelAsync();
        await Task.WhenAll(loads);
        foreach (var node in five[3..])
        {
            await CheckAsync(brokers, node, held + load.Acknowledged, cancellationToken);
        }
    }

    private static async Task CheckAsync(
        Brokers brokers, int node, long acknowledged, CancellationToken cancellationToken)
    {
        await using var reader = brokers.Connect(node);
        var read = 0L;
        foreach (var topic in Topics)
        {
            var next = 0L;
            await foreach (var record in reader.ReadAsync(
                topic, new ReadOptions { FromOffset = 0, Linearizable = true }, cancellationToken))
            {
                if (record.Offset != next++ || record.Value.Length != SizeBytes)
                {
                    throw new InvalidOperationException(
                        $"{topic} has a wrong record at offset {next - 1} on node {node}.");
                }
            }

            read += next;
        }

        if (read != acknowledged)
        {
            throw new InvalidOperationException(
                $"Node {node} has {read} messages, and {acknowledged} were acknowledged.");
        }

        Console.WriteLine($"Node {node} has all {read:N0} messages that were acknowledged.");
    }

    /// <summary>Publishers, whose answers count for the step that is being measured.</summary>
    private sealed class Load(BrokerClient client, BrokerMessage message, IEnumerable<string> folders)
    {
        /// <summary>Nothing is given up any more when the disks have grown for so long.</summary>
        private static readonly TimeSpan EvenFor = TimeSpan.FromSeconds(3);


        private readonly Lock _lock = new();
        private LatencyLog _latencies = new();
        private double _before;

        public long Acknowledged { get; private set; }

        /// <summary>Ends when it is stopped and its last message was answered; a refusal is told at the end.</summary>
        public async Task RunAsync(int number, CancellationToken stop)
        {
            while (!stop.IsCancellationRequested)
            {
                var begun = Stopwatch.GetTimestamp();
                await client.PublishAsync(Topics[number % Topics.Length], message, CancellationToken.None);
                var took = Stopwatch.GetTimestamp() - begun;
                lock (_lock)
                {
                    Acknowledged++;
                    _latencies.Add(took);
                }
            }
        }

        public async Task UntilDisksAreEvenAsync(CancellationToken cancellationToken)
        {
            var (least, since) = (long.MaxValue, Stopwatch.GetTimestamp());
            while (Stopwatch.GetElapsedTime(since) < EvenFor)
            {
                var bytes = BytesOnDisks();
                (least, since) = bytes < least ? (bytes, Stopwatch.GetTimestamp()) : (least, since);
                await Task.Delay(200, cancellationToken);
            }
        }

        public async Task MeasureAsync(string step, Func<Task> run)
        {
            var latencies = new LatencyLog();
            lock (_lock)
            {
                _latencies = latencies;
            }

            var begun = Stopwatch.GetTimestamp();
            await run();
            var seconds = Stopwatch.GetElapsedTime(begun).TotalSeconds;
            lock (_lock)
            {
                _latencies = new LatencyLog();
            }

            var rate = latencies.Count / seconds;
            _before = _before == 0 ? rate : _before;
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"| {step} | {seconds:N1} | {rate:N0} | {rate / _before:N2} | {latencies.Microseconds(0.5) / 1e3:N2} "
                + $"| {latencies.Microseconds(0.99) / 1e3:N1} | {latencies.Microseconds(1) / 1e3:N0} "
                + $"| {RetentionVerb.Mib(BytesOnDisks()):N0} |"));
        }

        private long BytesOnDisks() => folders.Where(Directory.Exists).Sum(static folder => new DirectoryInfo(folder)
            .GetFiles("*", SearchOption.AllDirectories)
            .Sum(static file => file.Exists ? file.Length : 0));
    }
}
