using System.Collections.Concurrent;

namespace Broker.Replication;

/// <summary>
/// The one thread on which all groups of a node live. It sleeps until a group has input or the next tick is due. A
/// thread of its own, above normal priority, so that heartbeats leave in time however busy the thread pool is.
/// </summary>
public sealed class ReplicationLoop : IDisposable
{
    /// <summary>How often every group looks at its clock: fine enough for a 0-50 ms campaign delay.</summary>
    private const int TickMs = 5;

    private readonly IReadOnlyList<ReplicaGroup> _groups;
    private readonly ILogger _logger;
    private readonly Action<Exception> _onFatal;
    private readonly ConcurrentQueue<ReplicaGroup> _scheduled = new();
    private readonly AutoResetEvent _wake = new(initialState: false);
    private readonly Thread _thread;
    private volatile bool _sleeping;
    private volatile bool _stopping;

    public ReplicationLoop(IReadOnlyList<ReplicaGroup> groups, ILogger logger, Action<Exception> onFatal)
    {
        _groups = groups;
        _logger = logger;
        _onFatal = onFatal;
        foreach (var group in groups)
        {
            group.OnInput(Schedule);
        }

        _thread = new Thread(Run) { Name = "replication", IsBackground = true, Priority = ThreadPriority.AboveNormal };
    }

    public void Start() => _thread.Start();

    /// <summary>Ends the thread after the work at hand; waits for it.</summary>
    public void Dispose()
    {
        _stopping = true;
        _wake.Set();
        if (_thread.IsAlive)
        {
            _thread.Join();
        }

        _wake.Dispose();
    }

    private void Schedule(ReplicaGroup group)
    {
        _scheduled.Enqueue(group);
        if (_sleeping)
        {
            _wake.Set();
        }
    }

    private void Run()
    {
        try
        {
            var nextTick = Environment.TickCount64;
            while (!_stopping)
            {
                while (_scheduled.TryDequeue(out var group))
                {
                    group.Pump();
                    if (Environment.TickCount64 >= nextTick)
                    {
                        break;
                    }
                }

                if (Environment.TickCount64 >= nextTick)
                {
                    TickAll();
                    nextTick = Environment.TickCount64 + TickMs;
                }

                Sleep(nextTick);
            }
        }
        catch (Exception exception)
        {
            ReplicationLog.LoopFailed(_logger, exception.Message, exception);
            _onFatal(exception);
        }
    }

    private void TickAll()
    {
        foreach (var group in _groups)
        {
            if (group.IsDue)
            {
                group.Pump();
            }
        }
    }

    private void Sleep(long until)
    {
        // The flag is set before the last look at the queue, and Schedule enqueues before it looks at the flag: one of
        // the two sees the other. A barrier keeps the flag's write before the queue's read.
        _sleeping = true;
        Interlocked.MemoryBarrier();
        if (_scheduled.IsEmpty && !_stopping)
        {
            var wait = (int)Math.Clamp(until - Environment.TickCount64, 0, TickMs);
            if (wait > 0)
            {
                _wake.WaitOne(wait);
            }
        }

        _sleeping = false;
    }
}
