using Broker.Client;
using Broker.Delivery;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Delivery;

public sealed class TailSignalTests
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(10);

    private readonly TailSignal _signal = new(maxWaiters: 3);

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_waiter_wakes_when_its_topic_is_appended_to()
    {
        using var waiter = _signal.Register("a");
        var waiting = waiter.WaitAsync(Stop).AsTask();
        _signal.Notify("b");
        Assert.False(waiting.IsCompleted);
        _signal.Notify("a");
        await waiting.WaitAsync(Deadline, Stop);
    }

    [Fact]
    public async Task Appends_before_the_wait_are_remembered_as_one_wake_up()
    {
        using var waiter = _signal.Register("a");
        _signal.Notify("a");
        _signal.Notify("a");
        await waiter.WaitAsync(Stop).AsTask().WaitAsync(Deadline, Stop);
        Assert.False(waiter.WaitAsync(Stop).AsTask().IsCompleted);
    }

    [Fact]
    public void It_knows_whether_anybody_reads()
    {
        Assert.False(_signal.HasReaders);
        using (_signal.Register("a"))
        {
            Assert.True(_signal.HasReaders);
        }

        using (_signal.Watch(new TopicFilterSet([TopicFilter.Parse("a.*")])))
        {
            Assert.True(_signal.HasReaders);
        }

        Assert.False(_signal.HasReaders);
    }

    [Fact]
    public async Task Every_waiter_of_a_topic_wakes()
    {
        using var one = _signal.Register("a");
        using var two = _signal.Register("a");
        _signal.Notify("a");
        await Task.WhenAll(one.WaitAsync(Stop).AsTask(), two.WaitAsync(Stop).AsTask()).WaitAsync(Deadline, Stop);
    }

    [Fact]
    public void Places_are_bounded_and_given_back_once()
    {
        var waiters = Enumerable.Range(0, 3).Select(i => _signal.Register($"t{i % 2}")).ToList();
        var refusal = Assert.Throws<BrokerException>(() => _signal.Register("t0"));
        Assert.Equal(RefusalCode.Overloaded, refusal.Code);
        waiters[0].Dispose();
        waiters[0].Dispose();
        Assert.Equal(2, _signal.Count);
        using var again = _signal.Register("t0");
        waiters[1].Dispose();
        waiters[2].Dispose();
        Assert.Equal(1, _signal.Count);
    }

    [Fact]
    public async Task A_cancelled_wait_ends_and_the_waiter_still_works()
    {
        using var waiter = _signal.Register("a");
        using var cancel = new CancellationTokenSource();
        var waiting = waiter.WaitAsync(cancel.Token).AsTask();
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
        _signal.Notify("a");
        await waiter.WaitAsync(Stop).AsTask().WaitAsync(Deadline, Stop);
    }

    [Fact]
    public async Task No_append_is_missed_when_reader_and_writer_race()
    {
        const long Last = 50_000;
        var next = 0L;
        var writer = Task.Run(
            () =>
            {
                for (var i = 1L; i <= Last; i++)
                {
                    Volatile.Write(ref next, i);
                    _signal.Notify("a");
                }
            },
            Stop);

        // A lost wake-up leaves a reader waiting with the last record unseen. Each place is taken anew, to race that,
        // too.
        var seen = 0L;
        while (seen < Last)
        {
            using var waiter = _signal.Register("a");
            for (var turn = 0; turn < 3 && seen < Last; turn++)
            {
                while (Volatile.Read(ref next) == seen)
                {
                    await waiter.WaitAsync(Stop).AsTask().WaitAsync(Deadline, Stop);
                }

                seen = Volatile.Read(ref next);
            }
        }

        await writer;
    }
}
