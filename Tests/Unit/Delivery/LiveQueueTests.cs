using Broker.Delivery;
using Xunit;

namespace Broker.Tests.Unit.Delivery;

public sealed class LiveQueueTests
{
    [Fact]
    public void Frames_come_out_in_order()
    {
        var queue = new LiveQueue(10, 1_000);
        Fill(queue, 3, bytes: 1);
        Assert.Equal(["0", "1", "2"], Drain(queue));
        Assert.Equal((0, 0L), (queue.Count, queue.Dropped));
    }

    [Fact]
    public void The_oldest_go_when_there_are_too_many()
    {
        var queue = new LiveQueue(3, 1_000);
        Fill(queue, 5, bytes: 1);
        Assert.Equal(2, queue.Dropped);
        Assert.Equal(["2", "3", "4"], Drain(queue));
    }

    [Fact]
    public void The_oldest_go_when_there_are_too_many_bytes()
    {
        var queue = new LiveQueue(100, 25);
        Fill(queue, 5, bytes: 10);
        Assert.Equal(3, queue.Dropped);
        Assert.Equal(["3", "4"], Drain(queue));
        Fill(queue, 2, bytes: 10);
        Assert.Equal(3, queue.Dropped);
    }

    [Fact]
    public async Task A_consumer_wakes_for_what_arrives()
    {
        var stop = TestContext.Current.CancellationToken;
        var queue = new LiveQueue(3, 1_000);
        var waiting = queue.WaitAsync(stop).AsTask();
        Assert.False(waiting.IsCompleted);
        Fill(queue, 2, bytes: 1);
        await waiting.WaitAsync(TimeSpan.FromSeconds(10), stop);
        Assert.Equal(2, queue.Count);
    }

    private static void Fill(LiveQueue queue, int count, int bytes)
    {
        for (var i = 0; i < count; i++)
        {
            queue.Enqueue(new LiveFrame($"{i}", new byte[bytes], "orders", i, 1, bytes));
        }
    }

    private static List<string> Drain(LiveQueue queue)
    {
        var channels = new List<string>();
        while (queue.TryDequeue(out var frame))
        {
            channels.Add(frame.Channel);
        }

        return channels;
    }
}
