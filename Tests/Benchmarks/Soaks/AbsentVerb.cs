using System.Buffers.Binary;
using System.CommandLine;
using System.Diagnostics;
using Broker.Client;

namespace Broker.Tests.Benchmarks.Soaks;

/// <summary>
/// A consumer works, goes away while very many messages arrive, and comes back: it gets all of them, in their order,
/// each once.
/// </summary>
internal static class AbsentVerb
{
    private const string Topic = "absent.log";
    private const string Group = "absent";
    private const int SizeBytes = 128;
    private const int Before = 1_000;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan Quiet = TimeSpan.FromSeconds(5);

    public static Command Create()
    {
        var messages = NumberOption.Make(
            "--messages", 1_000_000, 1, 100_000_000, "Messages that arrive while the consumer is away.");
        var command = new Command(
            "groups-absent", "Checks that a consumer that was away gets all that arrived, in order and once.")
        {
            messages,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            var code = 1;
            await BrokerCluster.InTemporaryFolderAsync("absent", async folder =>
                code = await RunAsync(folder, parsed.GetValue(messages), cancellationToken));
            return code;
        });
        return command;
    }

    private static async Task<int> RunAsync(string folder, int messages, CancellationToken cancellationToken)
    {
        var report = new SoakReport();
        await using var cluster = await BrokerCluster.StartBalancedAsync(folder, cancellationToken);
        await using var publisher = new BrokerClient(new BrokerClientOptions { Addresses = cluster.Addresses });
        await publisher.CreateGroupAsync(Group, new GroupSettings { Filters = [Topic] }, null, cancellationToken);
        await PublishAsync(publisher, 0, Before, cancellationToken);
        await ConsumeAsync(cluster, 0, Before, report, cancellationToken);
        var begun = Stopwatch.GetTimestamp();
        await PublishAsync(publisher, Before, messages, cancellationToken);
        Console.WriteLine(
            $"{messages:N0} messages arrived in {Stopwatch.GetElapsedTime(begun).TotalSeconds:N1} s with nobody there");
        begun = Stopwatch.GetTimestamp();
        await ConsumeAsync(cluster, Before, messages, report, cancellationToken);
        Console.WriteLine($"consumed and settled in {Stopwatch.GetElapsedTime(begun).TotalSeconds:N1} s");
        await LookAsync(publisher, Before + messages, report, cancellationToken);
        return report.Close("All came in order, none was lost, none came twice, all is settled.");
    }

    private static Task PublishAsync(
        BrokerClient client, long first, long count, CancellationToken cancellationToken) =>
        PublishLoad.AllAsync(count, 16_384, number =>
        {
            var value = PublishLoad.Payload(SizeBytes);
            BinaryPrimitives.WriteInt64LittleEndian(value, first + number);
            return client.PublishAsync(Topic, new BrokerMessage { Value = value }, cancellationToken);
        });

    /// <summary>One consumer, until it has so many; then a moment longer, in which nothing may come.</summary>
    private static async Task ConsumeAsync(
        BrokerCluster cluster, long first, long count, SoakReport report, CancellationToken cancellationToken)
    {
        await using var client = new BrokerClient(new BrokerClientOptions { Addresses = cluster.Addresses });
        await using var consumer = await client.ConsumeAsync(
            Group, new ConsumeOptions { MaxUnsettledRecords = 1_000 }, cancellationToken);
        var acks = new Queue<Task<bool>>();
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(Patience);
        var (expected, received) = (first, 0L);
        try
        {
            await foreach (var record in consumer.WithCancellation(patience.Token))
            {
                var number = BinaryPrimitives.ReadInt64LittleEndian(record.Record.Value.Span);
                if (number != record.Record.Offset || number != expected || record.Attempt != 1)
                {
                    report.Wrong(
                        "came out of order or again",
                        $"message {number}, offset {record.Record.Offset}, delivery {record.Attempt}; "
                        + $"expected {expected}");
                }

                expected = number + 1;
                received++;
                acks.Enqueue(record.AckAsync(cancellationToken).AsTask());
                while (acks.Count > 0 && (acks.Count >= 1_000 || acks.Peek().IsCompleted))
                {
                    await TakeAnswerAsync();
                }

                // A timer's change is not for each record.
                if (received % 1_000 == 0 || received >= count)
                {
                    patience.CancelAfter(received < count ? Patience : Quiet);
                }
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            // It is over, or nothing comes.
        }

        while (acks.Count > 0)
        {
            await TakeAnswerAsync();
        }

        if (received != count)
        {
            report.Wrong("came too few or too many", $"{received:N0} of {count:N0} came");
        }

        async Task TakeAnswerAsync()
        {
            if (!await acks.Dequeue())
            {
                report.Wrong("was no longer the consumer's when it was acknowledged", $"about message {expected}");
            }
        }
    }

    private static async Task LookAsync(
        BrokerClient client, long end, SoakReport report, CancellationToken cancellationToken)
    {
        var group = await client.DescribeGroupAsync(Group, cancellationToken);
        var progress = group.Progress.Single();
        Console.WriteLine(
            $"ack floor {progress.AckFloor:N0} of {progress.NextOffset:N0}, lag {progress.Lag}, "
            + $"redeliveries {progress.Redeliveries}, dead letters {group.Group.DeadLetters}");
        if (progress.AckFloor != end || progress.NextOffset != end || progress.Lag != 0
            || progress.Redeliveries != 0 || group.Group.DeadLetters != 0)
        {
            report.Wrong("the group is not at the end", progress.ToString());
        }
    }
}
