namespace Broker.Tests.Unit.Client;

/// <summary>The system's clock, with timers that ring 5 ms before their time, as real ones do by less.</summary>
internal sealed class HastyTimeProvider : TimeProvider
{
    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        new HastyTimer(System.CreateTimer(callback, state, Hasten(dueTime), period));

    private static TimeSpan Hasten(TimeSpan due) =>
        due == Timeout.InfiniteTimeSpan ? due : TimeSpan.FromMilliseconds(Math.Max(1, due.TotalMilliseconds - 5));

    private sealed class HastyTimer(ITimer timer) : ITimer
    {
        public bool Change(TimeSpan dueTime, TimeSpan period) => timer.Change(Hasten(dueTime), period);

        public void Dispose() => timer.Dispose();

        public ValueTask DisposeAsync() => timer.DisposeAsync();
    }
}
