using System.Diagnostics;

namespace Broker.Testing;

/// <summary>
/// Time that passes as the machine's does, and more of it when somebody says so. Timers that are due by then fire at
/// once, each of them once: a clock that had each period fire by itself would take minutes for a year.
/// </summary>
internal sealed class TestClock(DateTimeOffset start) : TimeProvider
{
    private readonly Lock _lock = new();
    private readonly HashSet<ClockTimer> _armed = [];
    private readonly long _began = Stopwatch.GetTimestamp();
    private long _skippedTicks;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp() => Stopwatch.GetElapsedTime(_began).Ticks + Volatile.Read(ref _skippedTicks);

    public override DateTimeOffset GetUtcNow() => start.ToUniversalTime() + TimeSpan.FromTicks(GetTimestamp());

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new ClockTimer(this, callback, state);
        timer.Change(dueTime, period);
        return timer;
    }

    public void Advance(TimeSpan by)
    {
        lock (_lock)
        {
            _skippedTicks += by.Ticks;
            foreach (var timer in _armed)
            {
                timer.Arm();
            }
        }
    }

    /// <summary>
    /// A timer of the machine that is set anew when the clock jumps. Its fields are under the clock's lock.
    /// </summary>
    private sealed class ClockTimer : ITimer
    {
        /// <summary>A timer of the machine waits no longer than 49 days.</summary>
        private static readonly TimeSpan LongestWait = TimeSpan.FromDays(40);

        private readonly TestClock _clock;
        private readonly TimerCallback _callback;
        private readonly object? _state;
        private readonly Timer _timer;
        private long _dueTicks;
        private TimeSpan _period;
        private bool _isDisposed;

        public ClockTimer(TestClock clock, TimerCallback callback, object? state)
        {
            (_clock, _callback, _state) = (clock, callback, state);
            _timer = new Timer(static timer => ((ClockTimer)timer!).Fire(), this, Timeout.Infinite, Timeout.Infinite);
        }

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            lock (_clock._lock)
            {
                if (_isDisposed)
                {
                    return false;
                }

                _period = period;
                SetDue(dueTime);
                return true;
            }
        }

        public void Arm()
        {
            var left = TimeSpan.FromTicks(Math.Max(0, _dueTicks - _clock.GetTimestamp()));

            // Rounded up: who is woken finds that it is due.
            left = left > LongestWait ? LongestWait : TimeSpan.FromMilliseconds(Math.Ceiling(left.TotalMilliseconds));
            _timer.Change(left, Timeout.InfiniteTimeSpan);
        }

        public void Dispose()
        {
            End();
            _timer.Dispose();
        }

        public ValueTask DisposeAsync()
        {
            End();
            return _timer.DisposeAsync();
        }

        private void End()
        {
            lock (_clock._lock)
            {
                _isDisposed = true;
                _clock._armed.Remove(this);
            }
        }

        private void SetDue(TimeSpan dueTime)
        {
            if (dueTime == Timeout.InfiniteTimeSpan)
            {
                _clock._armed.Remove(this);
                _timer.Change(Timeout.Infinite, Timeout.Infinite);
                return;
            }

            _dueTicks = _clock.GetTimestamp() + dueTime.Ticks;
            _clock._armed.Add(this);
            Arm();
        }

        private void Fire()
        {
            lock (_clock._lock)
            {
                if (!_clock._armed.Contains(this))
                {
                    return;
                }

                if (_clock.GetTimestamp() < _dueTicks)
                {
                    Arm();
                    return;
                }

                SetDue(_period > TimeSpan.Zero ? _period : Timeout.InfiniteTimeSpan);
            }

            _callback(_state);
        }
    }
}
