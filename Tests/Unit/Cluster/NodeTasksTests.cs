using Broker.Cluster;
using Broker.Domain;
using Broker.Tests.Unit.Storage;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Broker.Tests.Unit.Cluster;

public sealed class NodeTasksTests : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly ManualClock _clock = new();
    private readonly TaskCompletionSource<Exception> _fatal = new();
    private readonly NodeTasks _tasks;
    private int _runs;

    public NodeTasksTests() => _tasks = new NodeTasks(_clock, NullLogger.Instance, _fatal.SetResult);

    public ValueTask DisposeAsync() => _tasks.DisposeAsync();

    [Fact]
    public async Task A_task_that_fails_is_told_of_and_begun_again()
    {
        _tasks.Start("work", async stopping =>
        {
            if (Interlocked.Increment(ref _runs) <= 2)
            {
                throw new IOException("no space");
            }

            await Task.Delay(Timeout.InfiniteTimeSpan, stopping);
        });
        await AwaitAsync(() => _clock.WaitingTimers == 1);
        Assert.Equal("work failed and is tried again: no space", Assert.Single(_tasks.Failing));
        _clock.Advance(TimeSpan.FromSeconds(1));
        await AwaitAsync(() => _runs == 2 && _clock.WaitingTimers == 1);
        _clock.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(2, Volatile.Read(ref _runs));
        _clock.Advance(TimeSpan.FromSeconds(1));
        await AwaitAsync(() => _runs == 3);
        Assert.Single(_tasks.Failing);
        _clock.Advance(TimeSpan.FromMinutes(2));
        Assert.Empty(_tasks.Failing);
    }

    [Fact]
    public async Task A_task_that_ends_by_itself_has_failed()
    {
        _tasks.Start("work", _ => Task.CompletedTask);
        await AwaitAsync(() => _tasks.Failing.Count == 1);
    }

    [Fact]
    public async Task A_broken_invariant_ends_the_process()
    {
        _tasks.Start("work", _ => throw new InvariantException("Broken invariant: test"));
        Assert.IsType<InvariantException>(await _fatal.Task.WaitAsync(Patience, TestContext.Current.CancellationToken));
    }

    private static async Task AwaitAsync(Func<bool> condition)
    {
        for (var i = 0; i < 2_000 && !condition(); i++)
        {
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }

        Assert.True(condition(), "it comes about");
    }
}
