using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Broker.Client;

namespace Broker.Tests.Benchmarks;

/// <summary>Fills a cluster's log, then kills brokers and tells how long they take to be back.</summary>
internal static class RestartVerb
{
    private const string Topic = "restart.fill";
    private const int SizeBytes = 1024;

    public static Command Create()
    {
        var gigabytes = NumberOption.Make(
            "--gib", 10.0, 0.001, 10_000, "GiB of messages to store on each node before the restarts.");
        var rounds = NumberOption.Rounds(3, "Restarts of each kind.");
        var work = new Option<DirectoryInfo>("--work")
        {
            Description = "Where the brokers keep their data: three times --gib. Default: a temporary folder.",
            DefaultValueFactory = _ => Directory.CreateTempSubdirectory("broker-restart-"),
        };
        var command = new Command("restart", "Measures how long brokers with a full log take to be back after kill -9.")
        {
            gigabytes, rounds, work,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            var folder = parsed.GetRequiredValue(work);
            try
            {
                return await RunAsync(
                    folder.FullName, parsed.GetValue(gigabytes), parsed.GetValue(rounds), cancellationToken);
            }
            finally
            {
                folder.Delete(recursive: true);
            }
        });
        return command;
    }

    private static async Task<int> RunAsync(
        string folder, double gigabytes, int rounds, CancellationToken cancellationToken)
    {
        var broker = Path.Combine(AppContext.BaseDirectory, "Broker.dll");
        await using var cluster = await BrokerCluster.StartAsync([broker], folder, cancellationToken);
        await using var client = new BrokerClient(new BrokerClientOptions { Addresses = cluster.Addresses });
        var stored = await FillAsync(client, gigabytes, cancellationToken);
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{stored:N0} messages of {SizeBytes} B stored, {stored * (double)SizeBytes / (1 << 30):N2} GiB a node; "
            + $"memory of the nodes {Megabytes(cluster)}"));

        Console.WriteLine("| restart | kill -9 to healthy s | to the last message read s | to the next publish s |");
        Console.WriteLine("|---|---|---|---|");
        for (var round = 0; round < rounds; round++)
        {
            await RestartAsync(cluster, client, "one broker", [round % 3], stored + round, cancellationToken);
        }

        for (var round = 0; round < rounds; round++)
        {
            await RestartAsync(
                cluster, client, "all three brokers", [0, 1, 2], stored + rounds + round, cancellationToken);
        }

        Console.WriteLine($"Memory of the nodes at the end: {Megabytes(cluster)}");
        return 0;
    }

    private static async Task<long> FillAsync(
        BrokerClient client, double gigabytes, CancellationToken cancellationToken)
    {
        var count = (long)(gigabytes * (1 << 30) / SizeBytes);
        var message = new BrokerMessage { Value = PublishLoad.Payload(SizeBytes) };
        await PublishLoad.AllAsync(count, 16_384, _ => client.PublishAsync(Topic, message, cancellationToken));
        return count;
    }

    private static async Task RestartAsync(
        BrokerCluster cluster,
        BrokerClient client,
        string name,
        int[] nodes,
        long stored,
        CancellationToken cancellationToken)
    {
        foreach (var node in nodes)
        {
            await cluster.KillAsync(node);
        }

        var begun = Stopwatch.GetTimestamp();
        foreach (var node in nodes)
        {
            cluster.Start(node);
        }

        foreach (var node in nodes)
        {
            await cluster.WaitUntilHealthyAsync(node, cancellationToken);
        }

        var healthy = Stopwatch.GetElapsedTime(begun);
        await ReadLastAsync(cluster.Addresses[nodes[0]], stored - 1, cancellationToken);
        var read = Stopwatch.GetElapsedTime(begun);
        var ack = await client.PublishAsync(
            Topic, new BrokerMessage { Value = PublishLoad.Payload(SizeBytes) }, cancellationToken);
        var published = Stopwatch.GetElapsedTime(begun);
        if (ack.Offset != stored)
        {
            throw new InvalidOperationException(
                $"The next offset is {ack.Offset}; {stored} messages were acknowledged.");
        }

        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"| {name} | {healthy.TotalSeconds:N2} | {read.TotalSeconds:N2} | {published.TotalSeconds:N2} |"));
    }

    /// <summary>Reads the last message from this very node.</summary>
    private static async Task ReadLastAsync(Uri address, long offset, CancellationToken cancellationToken)
    {
        await using var client = new BrokerClient(new BrokerClientOptions { Addresses = [address] });
        while (true)
        {
            try
            {
                await foreach (var message in client.ReadAsync(
                    Topic, new ReadOptions { FromOffset = offset }, cancellationToken))
                {
                    if (message.Offset == offset)
                    {
                        return;
                    }
                }
            }
            catch (BrokerClientException)
            {
                // It has not applied so far yet.
            }

            await Task.Delay(10, cancellationToken);
        }
    }

    private static string Megabytes(BrokerCluster cluster) => string.Join(
        ", ",
        Enumerable.Range(0, 3).Select(node => $"{cluster.ResidentMegabytes(node):N0} MB"));
}
