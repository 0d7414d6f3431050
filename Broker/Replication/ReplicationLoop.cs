using System.Collections.Concurrent;
using System.Diagnostics;

namespace Broker.Replication;

/// <summary>
/// The one thread on which all groups of a node live. It sleeps until a group has input, or until the first of them has
/// a heartbeat, an election or upkeep due. A thread of its own, above normal priority, so that heartbeats leave in time
/// however busy the thread pool is.
/// </summary>
public sealed class ReplicationLoop : IDisposable
{
    /// <summary>It looks at every group's clock so often, whatever they said when it last looked.</summary>
    private const long LongestSleepMs = 1_000;

    private readonly IReadOnlyList<ReplicaGroup> _groups;
    private readonly IPeerSender _sender;
    private readonly ILogger _logger;
    private readonly Action<Exception> _onFatal;
    private readonly ConcurrentQueue<ReplicaGroup> _scheduled = new();
    private readonly AutoResetEvent _wake = new(initialState: false);
    private readonly Thread _thread;
    private long _dueMs; // when a group wants to be pumped without input
    private volatile bool _sleeping;
    private volatile bool _stopping;

    public ReplicationLoop(
        IReadOnlyList<ReplicaGroup> groups, IPeerSender sender, ILogger logger, Action<Exception> onFatal)
    {
        _groups = groups;
        _sender = sender;
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
            while (!_stopping)
            {
                // Input first; but a stream of it does not keep the other groups from what is due.
                while (NowMs() < _dueMs && _scheduled.TryDequeue(out var group))
                {
                    Pump(group);
                }

                if (NowMs() >= _dueMs)
                {
                    PumpWhatIsDue();
                }

                _sender.Flush();
                Sleep();
            }
        }
        catch (Exception exception)
        {
            ReplicationLog.LoopFailed(_logger, exception.Message, exception);
            _onFatal(exception);
        }
    }

    private void Pump(ReplicaGroup group)
    {
        group.Pump();
        _dueMs = Math.Min(_dueMs, NowMs() + Math.Max(0, group.DueInMs));
    }

    private void PumpWhatIsDue()
    {
        _dueMs = NowMs() + LongestSleepMs;
        foreach (var group in _groups)
        {
            if (group.IsDue)
            {
                group.Pump();
            }

            _dueMs = Math.Min(_dueMs, NowMs() + Math.Max(1, group.DueInMs));
        }
    }

    private void Sleep()
    {
        // The flag is set before the last look at the queue, and Schedule enqueues before it looks at the flag: one of
        // the two sees the other. A barrier keeps the flag's write before the queue's read.
        _sleeping = true;
        Interlocked.MemoryBarrier();
        if (_scheduled.IsEmpty && !_stopping && _dueMs - NowMs() is var wait and > 0)
        {
            _wake.WaitOne((int)wait);
        }

        _sleeping = false;
    }

    private static long NowMs() => Stopwatch.GetTimestamp() / (Stopwatch.Frequency / 1_000);
}
