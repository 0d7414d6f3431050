using System.CommandLine;
using Broker.Client;

namespace Broker.Tests.Benchmarks;

/// <summary>
/// Starts three brokers, measures them in rounds, checks that everything acknowledged is there, prints a table.
/// </summary>
internal static class ClusterVerb
{
    private static readonly TimeSpan VisibleDeadline = TimeSpan.FromSeconds(10);

    public static Command Create()
    {
        var broker = new Option<FileInfo>("--broker")
        {
            Description = "Broker.dll to start. Default: the one built with this program.",
            DefaultValueFactory = _ => new FileInfo(Path.Combine(AppContext.BaseDirectory, "Broker.dll")),
        };
        var rounds = NumberOption.Rounds(3);
        var secs = NumberOption.Seconds(4, "Seconds of each load.");
        var work = new Option<DirectoryInfo>("--work")
        {
            Description = "Where the brokers keep their data. Default: a temporary folder.",
            DefaultValueFactory = _ => Directory.CreateTempSubdirectory("broker-bench-"),
        };
        var keep = new Option<bool>("--keep") { Description = "Leave data and logs behind." };
        var command = new Command("cluster", "Starts three brokers by itself and measures them.")
        {
            broker, rounds, secs, work, keep,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            var folder = parsed.GetRequiredValue(work);
            try
            {
                return await RunAsync(
                    parsed.GetRequiredValue(broker).FullName,
                    folder.FullName,
                    parsed.GetValue(rounds),
                    TimeSpan.FromSeconds(parsed.GetValue(secs)),
                    cancellationToken);
            }
            finally
            {
                if (!parsed.GetValue(keep))
                {
                    folder.Delete(recursive: true);
                }
            }
        });
        return command;
    }

    private static async Task<int> RunAsync(
        string brokerDll, string folder, int rounds, TimeSpan duration, CancellationToken cancellationToken)
    {
        var table = new ResultTable();
        await using var cluster = await BrokerCluster.StartAsync([brokerDll], folder, cancellationToken);
        await cluster.WaitForBalanceAsync(cancellationToken);
        for (var round = 0; round < rounds; round++)
        {
            foreach (var size in (int[])[128, 1024])
            {
                await MeasureAsync($"publish {size} B, batched by the client", 16_384, 1, 0, size, readBack: true);
                await MeasureAsync(
                    $"publish {size} B, one message a request, 64 topics", 1_024, 64, 1, size, readBack: false);
                await MeasureAsync($"publish {size} B, one at a time", 1, 1, 0, size, readBack: false);
            }

            async Task MeasureAsync(string name, int window, int topics, int records, int size, bool readBack)
            {
                var run = $"{table.Count}-{round}";
                var settings = new LoadSettings
                {
                    Addresses = cluster.Addresses,
                    Topics = [.. Enumerable.Range(0, topics).Select(t => $"bench.{run}.{t}")],
                    SizeBytes = size,
                    Window = window,
                    Duration = duration,
                    RecordsPerBatch = records,
                };
                await using var client = settings.Connect();
                await PublishLoad.WarmUpAsync(settings, client, cancellationToken);
                var cpu = cluster.CpuSeconds();
                var result = await PublishLoad.RunAsync("publish", settings, client, cancellationToken);
                var used = cluster.CpuSeconds() - cpu;
                table.Add(name, result, used, await MissingAsync(client, result, run, cancellationToken));
                if (readBack)
                {
                    cpu = cluster.CpuSeconds();
                    var read = await ReadLoad.RunAsync(
                        settings with { Messages = result.Messages }, client, cancellationToken);
                    table.Add($"read back {size} B", read, cluster.CpuSeconds() - cpu, read.Errors);
                }
            }
        }

        await Console.Out.WriteLineAsync(table.ToMarkdown());
        return table.Missing == 0 ? 0 : 1;
    }

    /// <summary>
    /// Acknowledged messages that the topics' offsets do not account for; waits until the asked node has applied them.
    /// </summary>
    private static async Task<long> MissingAsync(
        BrokerClient client, LoadResult result, string run, CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(VisibleDeadline);
        while (true)
        {
            var topics = await client.ListTopicsAsync($"bench.{run}.*", cancellationToken);
            var missing = result.Messages - topics.Sum(t => t.NextOffset);
            if (missing <= 0 || deadline.IsCancellationRequested)
            {
                return result.Errors == 0 ? Math.Abs(missing) : Math.Max(0, missing);
            }

            await Task.Delay(50, cancellationToken);
        }
    }
}
