using System.Globalization;
using Broker.Client;
using Broker.Tests.Demo;
using Xunit;

namespace Broker.Tests.EndToEnd;

/// <summary>What a user sees of a broker whose disk lost something: nothing, after a moment.</summary>
public sealed class HealingTests
{
    private const string Topic = "e2e.healing";
    private const string Victim = "broker-2";
    private const int Messages = 3_000;

    /// <summary>Small segments, so that a few megabytes make many.</summary>
    private static readonly Dictionary<string, string> SmallSegments = new() { ["Broker__SegmentBytes"] = "65536" };

    private static readonly TimeSpan HealingTime = TimeSpan.FromMinutes(2);

    [Fact]
    public async Task A_broker_heals_when_a_segment_rots_its_vote_is_lost_or_a_groups_folder_is_gone()
    {
        using var timeout = new CancellationTokenSource(TimeSpan.FromMinutes(8));
        var data = Directory.CreateTempSubdirectory("broker-healing-");
        try
        {
            await using var system = await RunningSystem.StartAsync(data.FullName, timeout.Token, SmallSegments);
            await PublishAsync(system, 0, timeout.Token);
            var folder = FindGroupFolder(Path.Combine(data.FullName, Victim));

            await HurtAndHealAsync(system, () => Flip(SegmentsOf(folder)[3]), Messages, timeout.Token);
            await HurtAndHealAsync(system, () => File.Delete(Path.Combine(folder, "vote")), Messages, timeout.Token);
            await HurtAndHealAsync(system, () => Directory.Delete(folder, recursive: true), Messages, timeout.Token);

            await PublishAsync(system, Messages, timeout.Token);
            await ReadAllAsync(system, 2 * Messages, timeout.Token);
        }
        finally
        {
            data.Delete(recursive: true);
        }
    }

    private static async Task HurtAndHealAsync(
        RunningSystem system, Action hurt, int messages, CancellationToken cancellationToken)
    {
        await system.KillAsync(Victim, cancellationToken);
        hurt();
        await system.StartResourceAsync(Victim, cancellationToken);
        await WaitUntilWellAsync(system, cancellationToken);
        await ReadAllAsync(system, messages, cancellationToken);
    }

    /// <summary>"Degraded" while something is still to be mended.</summary>
    private static async Task WaitUntilWellAsync(RunningSystem system, CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(HealingTime);
        using var client = system.CreateHttpClient(Victim);

        // A replica takes a second to know how it is.
        for (var well = 0; well < 10;)
        {
            using var answer = await client.GetAsync(new Uri("/health", UriKind.Relative), deadline.Token);
            var words = await answer.Content.ReadAsStringAsync(deadline.Token);
            well = words == "Healthy" ? well + 1 : 0;
            await Task.Delay(TimeSpan.FromMilliseconds(250), deadline.Token);
        }
    }

    private static async Task PublishAsync(RunningSystem system, int first, CancellationToken cancellationToken)
    {
        const int atOnce = 50;
        for (var number = first; number < first + Messages; number += atOnce)
        {
            await Task.WhenAll(Enumerable.Range(number, atOnce).Select(
                each => system.Client.PublishAsync(
                    Topic, new() { Value = ValueOf(each) }, cancellationToken).AsTask()));
        }
    }

    /// <summary>From the victim alone: each message is there once.</summary>
    private static async Task ReadAllAsync(RunningSystem system, int expected, CancellationToken cancellationToken)
    {
        await using var client = new BrokerClient(new BrokerClientOptions
        {
            Addresses = [system.Endpoint(Victim, "grpc")],
            ClientName = "healing",
        });
        var read = new HashSet<int>();
        var next = 0L;

        // Followed, because this broker may still be applying what the others have committed.
        var options = new ReadOptions { FromOffset = 0, Follow = true };
        await foreach (var record in client.ReadAsync(Topic, options, cancellationToken))
        {
            Assert.Equal(next++, record.Offset);
            var number = BitConverter.ToInt32(record.Value.Span);
            Assert.Equal(ValueOf(number), record.Value.ToArray());
            Assert.True(read.Add(number), $"message {number} comes once");
            if (read.Count == expected)
            {
                break;
            }
        }

        Assert.Equal(expected, read.Count);
    }

    private static byte[] ValueOf(int number)
    {
        var value = new byte[1024];
        new Random(number).NextBytes(value);
        BitConverter.TryWriteBytes(value, number);
        return value;
    }

    /// <summary>That of the shard which holds the topic: the only one with many segments.</summary>
    private static string FindGroupFolder(string node) =>
        Directory.GetDirectories(node, "group-*").MaxBy(folder => SegmentsOf(folder).Count)!;

    private static List<string> SegmentsOf(string folder) =>
        [.. Directory.GetFiles(folder, "*.log").OrderBy(name => long.Parse(
            Path.GetFileNameWithoutExtension(name), CultureInfo.InvariantCulture))];

    private static void Flip(string path)
    {
        using var file = File.Open(path, FileMode.Open, FileAccess.ReadWrite);
        file.Position = file.Length / 2;
        var bytes = new byte[16];
        file.ReadExactly(bytes);
        file.Position = file.Length / 2;
        file.Write([.. bytes.Select(each => (byte)~each)]);
    }
}
