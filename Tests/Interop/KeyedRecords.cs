using Broker.Client;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>
/// Records of some size with keys in a topic of three partitions: enough that their logs have sealed segments, where
/// these are small.
/// </summary>
internal static class KeyedRecords
{
    public const int Count = 3_000;
    private const string Topic = "replicas.parts";
    private const int Partitions = 3;
    private const int Keys = 1_000;
    private const int ValueBytes = 2_000;

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    public static async Task FillAsync(BrokerClient client)
    {
        await client.CreateTopicAsync(Topic, new TopicSettings { Partitions = Partitions }, cancellationToken: Test);
        var acks = new List<Task<PublishAck>>();
        for (var i = 0; i < Count; i++)
        {
            acks.Add(client.PublishAsync(Topic, MessageOf(i), Test).AsTask());
            if (acks.Count == 100)
            {
                await Task.WhenAll(acks);
                acks.Clear();
            }
        }

        await Task.WhenAll(acks);
    }

    /// <summary>All of them are there: by reads, by the last of each key, and by a subscription.</summary>
    public static async Task CheckAsync(BrokerClient one)
    {
        var read = new List<int>();
        var last = new List<int>();
        for (var partition = 0; partition < Partitions; partition++)
        {
            var options = new ReadOptions { Partition = partition };
            await foreach (var record in one.ReadAsync(Topic, options, Test))
            {
                read.Add(NumberOf(record.Value));
            }

            await foreach (var record in one.ReadAsync(Topic, options with { LastPerKey = true }, Test))
            {
                last.Add(NumberOf(record.Value));
            }
        }

        Assert.Equal(Enumerable.Range(0, Count), read.Order());
        Assert.Equal(Enumerable.Range(Count - Keys, Keys), last.Order());

        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(Test);
        deadline.CancelAfter(TimeSpan.FromMinutes(1));
        var subscribed = new HashSet<int>();
        await using var subscription = await one.SubscribeAsync(
            [Topic], new SubscribeOptions { FromBeginning = true }, deadline.Token);
        await foreach (var record in subscription.WithCancellation(deadline.Token))
        {
            Assert.True(subscribed.Add(NumberOf(record.Value)));
            if (subscribed.Count == Count)
            {
                break;
            }
        }
    }

    private static BrokerMessage MessageOf(int number)
    {
        var value = new byte[ValueBytes];
        new Random(number).NextBytes(value);
        BitConverter.TryWriteBytes(value, number);
        return new BrokerMessage { Key = BitConverter.GetBytes(number % Keys), Value = value };
    }

    private static int NumberOf(ReadOnlyMemory<byte> value)
    {
        var number = BitConverter.ToInt32(value.Span);
        Assert.True(MessageOf(number).Value.Span.SequenceEqual(value.Span));
        return number;
    }
}
