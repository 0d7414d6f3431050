using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Broker.Client;

namespace Broker.Tests.Benchmarks;

/// <summary>
/// Publishes many records over few keys to a compacted topic; tells the rate meanwhile, what the disks hold at the most
/// and when nothing more goes, and how long a read of the last record of each key takes then.
/// </summary>
internal static class CompactionVerb
{
    private const string Topic = "compaction.state";
    private const int SizeBytes = 100;
    private static readonly TimeSpan CalmFor = TimeSpan.FromSeconds(20);

    public static Command Create()
    {
        var records = NumberOption.Make("--records", 10_000_000, 1, int.MaxValue, "Records to publish.");
        var keys = NumberOption.Make("--keys", 10_000, 1, 900_000, "Keys that they have, by turns.");
        var command = new Command(
            "compaction", "Measures disk and rate while a topic keeps the last record of each key.")
        {
            records, keys,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            await BrokerCluster.InTemporaryFolderAsync("compaction", folder => RunAsync(
                folder, parsed.GetValue(records), parsed.GetValue(keys), cancellationToken));
            return 0;
        });
        return command;
    }

    private static async Task RunAsync(string folder, int records, int keys, CancellationToken cancellationToken)
    {
        await using var cluster = await BrokerCluster.StartBalancedAsync(folder, cancellationToken);
        await using var client = new BrokerClient(new BrokerClientOptions { Addresses = cluster.Addresses });
        await client.CreateTopicAsync(Topic, new TopicSettings { Compact = true }, cancellationToken);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var watching = RetentionVerb.WatchAsync(folder, stop.Token);
        var begun = Stopwatch.GetTimestamp();
        await LoadAsync(client, records, keys, cancellationToken);
        var published = Stopwatch.GetElapsedTime(begun);
        var (endBytes, calmAfter) = await WaitUntilCalmAsync(folder, cancellationToken);
        await stop.CancelAsync();
        var most = await watching;
        begun = Stopwatch.GetTimestamp();
        var read = 0;
        await foreach (var _ in client.ReadAsync(Topic, new ReadOptions { LastPerKey = true }, cancellationToken))
        {
            read++;
        }

        Console.WriteLine(
            "| records | keys | messages/s | most on a disk MiB | at the end MiB | after s | last per key s | read |");
        Console.WriteLine("|---|---|---|---|---|---|---|---|");
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"| {records:N0} | {keys:N0} | {records / published.TotalSeconds:N0} | {RetentionVerb.Mib(most):N0} "
            + $"| {RetentionVerb.Mib(endBytes):N0} | {calmAfter.TotalSeconds:N0} "
            + $"| {Stopwatch.GetElapsedTime(begun).TotalSeconds:N1} | {read:N0} |"));
    }

    private static Task LoadAsync(
        BrokerClient client, int records, int keys, CancellationToken cancellationToken)
    {
        var value = PublishLoad.Payload(SizeBytes);
        return PublishLoad.AllAsync(records, 4_096, number => client.PublishAsync(
            Topic,
            new BrokerMessage { Key = BitConverter.GetBytes((int)(number % keys)), Value = value },
            cancellationToken));
    }

    /// <summary>Until the fullest disk has held the same for a while; how long it took to come there.</summary>
    private static async Task<(long Bytes, TimeSpan After)> WaitUntilCalmAsync(
        string folder, CancellationToken cancellationToken)
    {
        var begun = Stopwatch.GetTimestamp();
        var (bytes, since) = (RetentionVerb.LargestOf(folder).Bytes, TimeSpan.Zero);
        while (Stopwatch.GetElapsedTime(begun) - since < CalmFor)
        {
            await Task.Delay(500, cancellationToken);
            var now = RetentionVerb.LargestOf(folder).Bytes;
            (bytes, since) = now == bytes ? (bytes, since) : (now, Stopwatch.GetElapsedTime(begun));
        }

        return (bytes, since);
    }
}
