using Broker.Replication;
using Xunit;

namespace Broker.Tests.Unit.Replication;

public sealed class WorkQueueTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_is_added_while_the_thread_sleeps_wakes_it_and_comes_in_order()
    {
        var queue = new WorkQueue<int>();
        var taking = Task.Run(
            () =>
            {
                var taken = new List<int>();
                while (taken.Count < 1_000 && queue.TryTake(out var item))
                {
                    taken.Add(item);
                }

                return taken;
            },
            Stop);

        for (var i = 0; i < 1_000; i++)
        {
            queue.Add(i);
            if (i % 100 == 0)
            {
                await Task.Delay(1, Stop);
            }
        }

        Assert.Equal(Enumerable.Range(0, 1_000), await taking.WaitAsync(Patience, Stop));
    }

    [Fact]
    public async Task Closing_wakes_the_thread_and_gives_up_what_waits()
    {
        var queue = new WorkQueue<int>();
        var taking = Task.Run(() => queue.TryTake(out _), Stop);
        queue.Close();
        Assert.False(await taking.WaitAsync(Patience, Stop));

        var full = new WorkQueue<int>();
        full.Add(1);
        full.Close();
        full.Add(2);
        Assert.False(full.TryTake(out _));
    }
}
