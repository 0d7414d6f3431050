using System.Text;
using Broker.Client;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>What is gone gives its space back, wherever it lies in the log of a shard.</summary>
public sealed class LogSpaceTests
{
    private const int Kept = 40;
    private const int LargeBytes = 128 * 1024;
    private const int Rounds = 4;
    private const int LargePerRound = 400;
    private const long KeptLargeBytes = 4 * 1024 * 1024;

    /// <summary>
    /// Of 200 MiB: what the topic keeps, twice, the segments at the end of the log, and as much again while one of them
    /// is written anew.
    /// </summary>
    private const long MostBytes = 48 * 1024 * 1024;

    private static readonly (string Key, string Value)[] Settings =
        [("Broker__SegmentBytes", $"{4 * 1024 * 1024}")];

    private static readonly CancellationToken Test = TestContext.Current.CancellationToken;

    [Fact]
    public async Task One_old_record_does_not_hold_what_another_topic_has_given_up()
    {
        await using var brokers = new KilledBrokers();
        for (var node = 1; node <= KilledBrokers.Count; node++)
        {
            brokers.Start(node, Settings);
        }

        await brokers.BecomesHealthyAsync(1, 2, 3);
        await using var client = brokers.Connect(1, 2, 3);
        await client.CreateTopicAsync("large", new TopicSettings { MaxBytes = KeptLargeBytes }, Test);
        for (var round = 0; round < Rounds; round++)
        {
            for (var i = 0; i < Kept / Rounds; i++)
            {
                await client.PublishAsync("kept", Message($"kept {(round * Kept / Rounds) + i}"), Test);
            }

            // Killed while segments are written anew, too: they are at any time by now.
            var publishing = PublishLargeAsync(client);
            await Task.Delay(500, Test);
            var victim = 1 + (round % KilledBrokers.Count);
            await brokers.KillAsync(victim);
            brokers.Start(victim, Settings);
            await publishing;
            await brokers.BecomesHealthyAsync(1, 2, 3);
        }

        await Eventually.HoldsAsync(
            () => Task.FromResult(Enumerable.Range(1, 3).All(node => SizeOf(brokers, node) < MostBytes)),
            () => string.Join(", ", Enumerable.Range(1, 3).Select(node => $"{SizeOf(brokers, node):N0}"))
                + $" bytes are less than {MostBytes:N0}",
            120);
        await CheckKeptAsync(brokers);
        for (var node = 1; node <= KilledBrokers.Count; node++)
        {
            await brokers.KillAsync(node);
        }

        for (var node = 1; node <= KilledBrokers.Count; node++)
        {
            Assert.InRange(SizeOf(brokers, node), 0, MostBytes);
            brokers.Start(node, Settings);
        }

        await brokers.BecomesHealthyAsync(1, 2, 3);
        await CheckKeptAsync(brokers);
    }

    private static async Task PublishLargeAsync(BrokerClient client)
    {
        await Parallel.ForEachAsync(
            Enumerable.Range(0, LargePerRound),
            new ParallelOptions { MaxDegreeOfParallelism = 16, CancellationToken = Test },
            async (_, cancellation) => await client.PublishAsync(
                "large", new BrokerMessage { Value = new byte[LargeBytes] }, cancellation));
    }

    private static async Task CheckKeptAsync(KilledBrokers brokers)
    {
        for (var node = 1; node <= KilledBrokers.Count; node++)
        {
            await using var client = brokers.Connect(node);
            var kept = new List<string>();
            await foreach (var record in client.ReadAsync("kept", new ReadOptions { Linearizable = true }, Test))
            {
                kept.Add(Encoding.UTF8.GetString(record.Value.Span));
            }

            Assert.Equal(Enumerable.Range(0, Kept).Select(static i => $"kept {i}"), kept);
            var large = (await client.DescribeTopicAsync("large", Test)).Topic;
            Assert.Equal(Rounds * LargePerRound, large.NextOffset);
            var offset = large.FirstOffset;
            await foreach (var record in client.ReadAsync(
                "large", new ReadOptions { FromOffset = offset, Linearizable = true }, Test))
            {
                Assert.Equal((offset++, LargeBytes), (record.Offset, record.Value.Length));
            }

            Assert.Equal(large.NextOffset, offset);
        }
    }

    private static long SizeOf(KilledBrokers brokers, int node) =>
        new DirectoryInfo(Path.Combine(brokers.FolderOf(node), $"group-000{KilledBrokers.TopicGroup}")).GetFiles()
            .Sum(static file => file.Exists ? file.Length : 0);

    private static BrokerMessage Message(string text) => new() { Value = Encoding.UTF8.GetBytes(text) };
}
