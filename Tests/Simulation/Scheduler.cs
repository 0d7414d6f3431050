namespace Broker.Tests.Simulation;

/// <summary>
/// Virtual time in microseconds, and what is to happen when. Two things at one instant happen in the order of asking.
/// </summary>
internal sealed class Scheduler
{
    private readonly PriorityQueue<Action, (long AtUs, long Order)> _queue = new();
    private long _order;

    public long NowUs { get; private set; }

    public long Steps { get; private set; }

    public void After(long delayUs, Action action) => _queue.Enqueue(action, (NowUs + Math.Max(0, delayUs), _order++));

    /// <summary>Does the next thing; false when nothing is left.</summary>
    public bool TryStep()
    {
        if (!_queue.TryDequeue(out var action, out var key))
        {
            return false;
        }

        NowUs = key.AtUs;
        Steps++;
        action();
        return true;
    }
}
