using System.Collections.Concurrent;
using Broker.Replication;
using Xunit;

namespace Broker.Tests.Unit.Replication;

/// <summary>Real threads, under which a disk hangs.</summary>
public sealed class GroupThreadsTests : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly TestGroup _groups = new(3);
    private readonly ManualResetEventSlim _hang = new();
    private readonly BlockingCollection<string> _done = [];
    private readonly ConcurrentQueue<Exception> _failures = new();
    private readonly GroupThreads<Action> _threads;

    public GroupThreadsTests()
    {
        _threads = new GroupThreads<Action>(
            "test", ThreadPriority.Normal, static work => work(), _failures.Enqueue);
        _threads.Start();
    }

    public void Dispose()
    {
        _hang.Set();
        Assert.True(_threads.Stop(), "all threads end");
        _hang.Dispose();
        _done.Dispose();
    }

    [Fact]
    public void Others_do_not_wait_behind_a_group_under_which_the_disk_hangs()
    {
        HangUnderGroup1();
        Say(2, "two");
        Say(3, "three");
        Assert.False(_done.TryTake(out _, TimeSpan.FromMilliseconds(100)), "they wait behind it at first");
        _threads.Expedite(_groups[2].Group);
        Assert.Equal("two", Take());
        Assert.Equal("three", Take());

        // And from then on they need no help.
        Say(2, "again");
        Assert.Equal("again", Take());
        Assert.Equal(2, _threads.Count);
        _hang.Set();
        Assert.True(SpinWait.SpinUntil(() => _threads.Count == 1, Patience), "one thread is enough again");
    }

    [Fact]
    public void The_works_of_one_group_follow_one_another_whoever_does_them()
    {
        HangUnderGroup1();
        Say(1, "one");
        Say(2, "two");
        _threads.Expedite(_groups[1].Group);
        _threads.Expedite(_groups[2].Group);
        Assert.Equal("two", Take());
        Assert.False(_done.TryTake(out _, TimeSpan.FromMilliseconds(100)), "one waits for what is before it");
        _hang.Set();
        Assert.Equal("one", Take());
    }

    [Fact]
    public void Nobody_is_woken_who_is_not_needed()
    {
        Say(1, "one");
        Assert.Equal("one", Take());
        _threads.Expedite(_groups[1].Group);
        Assert.Equal(1, _threads.Count);
    }

    [Fact]
    public async Task What_is_added_while_the_thread_sleeps_wakes_it_and_comes_in_order()
    {
        for (var i = 0; i < 1_000; i++)
        {
            Say((i % 3) + 1, $"{i}");
            if (i % 100 == 0)
            {
                await Task.Delay(1, TestContext.Current.CancellationToken);
            }
        }

        Assert.Equal(Enumerable.Range(0, 1_000).Select(i => $"{i}"), Enumerable.Range(0, 1_000).Select(_ => Take()));
    }

    [Fact]
    public void Stopping_gives_up_what_waits()
    {
        Assert.True(_threads.Stop(), "the thread ends");
        Say(1, "late");
        Assert.False(_done.TryTake(out _, TimeSpan.FromMilliseconds(50)), "nothing is done any more");
    }

    /// <summary>Each of them had the whole of it, counted from the end of the one before.</summary>
    [Fact]
    public async Task All_threads_together_have_the_patience_of_a_stop()
    {
        using var soon = new ManualResetEventSlim();
        using var late = new ManualResetEventSlim();
        HangUnder(1, soon);
        Assert.Equal("begun", Take());
        HangUnder(2, late);
        _threads.Expedite(_groups[2].Group);
        Assert.Equal("begun", Take());
        var patience = TimeSpan.FromMilliseconds(1_000);
        var ends = Task.WhenAll(SetAfterAsync(soon, 0.6 * patience), SetAfterAsync(late, 1.4 * patience));

        Assert.False(_threads.Stop(patience), "the second one has not ended in time");

        await ends;
        Assert.True(_threads.Stop(Patience), "both have ended");
    }

    [Fact]
    public void What_throws_is_told()
    {
        _threads.Add(_groups[1].Group, () => throw new IOException("the disk is gone"));
        Assert.True(SpinWait.SpinUntil(() => !_failures.IsEmpty, Patience), "the failure is told");
        Assert.Equal("the disk is gone", _failures.Single().Message);
    }

    /// <summary>Until a thread is held up: one that is about to begin counts as free.</summary>
    private void HangUnderGroup1()
    {
        HangUnder(1, _hang);
        Assert.Equal("begun", Take());
    }

    private void HangUnder(int group, ManualResetEventSlim until) => _threads.Add(_groups[group].Group, () =>
    {
        _done.Add("begun");
        until.Wait();
    });

    private static async Task SetAfterAsync(ManualResetEventSlim what, TimeSpan time)
    {
        await Task.Delay(time, TestContext.Current.CancellationToken);
        what.Set();
    }

    private void Say(int group, string what) => _threads.Add(_groups[group].Group, () => _done.Add(what));

    private string Take()
    {
        Assert.True(_done.TryTake(out var what, Patience), "something is done");
        return what!;
    }
}
