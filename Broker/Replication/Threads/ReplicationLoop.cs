using System.Collections.Concurrent;
using System.Diagnostics;

namespace Broker.Replication;

/// <summary>
/// Where all groups of a node live: one thread at a time has the turn to pump them. The loop has a thread of its own,
/// above normal priority, so that heartbeats leave in time however busy the thread pool is. It sleeps until a group has
/// input, or until the first of them has a heartbeat, an election or upkeep due. While it sleeps, a thread that gives
/// input takes the turn itself (<see cref="InputBatch"/>): a node that is not busy answers without a change of threads,
/// and a busy one, whose loop never sleeps, works as if there were only the loop.
/// </summary>
public sealed class ReplicationLoop : IDisposable
{
    /// <summary>Peers must hear from this node so often, whether or not a group has something to do.</summary>
    private const long LongestSleepMs = 500;

    /// <summary>
    /// While groups wait for their turn, what they say is gathered from at most so many pumps: messages of several
    /// groups to a peer then cost one write to its socket, and none waits long.
    /// </summary>
    private const int PumpsUnsaid = 4;

    private readonly IReadOnlyList<ReplicaGroup> _groups;
    private readonly IPeerSender _sender;
    private readonly ILogger _logger;
    private readonly Action<Exception> _onFatal;
    private readonly ConcurrentQueue<ReplicaGroup> _scheduled = new();
    private readonly AutoResetEvent _wake = new(initialState: false);
    private readonly Thread _thread;

    /// <summary>Whoever holds it pumps. Guards all groups and what follows.</summary>
    private readonly Lock _turn = new();

    private int _unsaid; // pumps since what they said has left
    private long _dueMs; // when a group wants to be pumped without input
    private long _sleepsUntilMs; // when the loop's thread looks for what is due
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

    /// <summary>Ends the thread after the work at hand; waits for it, and for who has the turn.</summary>
    public void Dispose()
    {
        _stopping = true;
        _wake.Set();
        if (_thread.IsAlive)
        {
            _thread.Join();
        }

        lock (_turn)
        {
            // From here on nobody pumps: TakeTurn looks at the flag when it has the turn.
        }

        _wake.Dispose();
    }

    /// <summary>
    /// Takes a turn on the calling thread, which has just given a group input, while the loop's own thread sleeps: a
    /// message then costs no change of thread. One group's worth at most; the loop is woken for the rest. What this
    /// leaves undone is done by whoever has the turn, as it looks at the queue again when its turn ends.
    /// </summary>
    internal void TakeTurn()
    {
        Interlocked.MemoryBarrier();
        if (!_sleeping || _turn.IsHeldByCurrentThread || !_turn.TryEnter())
        {
            return;
        }

        var isDueEarlier = false;
        try
        {
            if (!_stopping && _scheduled.TryDequeue(out var group))
            {
                Pump(group);
                isDueEarlier = _dueMs < _sleepsUntilMs;
            }
        }
        catch (Exception exception)
        {
            Fail(exception);
        }
        finally
        {
            _turn.Exit();
        }

        Interlocked.MemoryBarrier();
        if (isDueEarlier || !_scheduled.IsEmpty)
        {
            Wake();
        }
    }

    private void Schedule(ReplicaGroup group)
    {
        _scheduled.Enqueue(group);
        if (!InputBatch.TryJoin(this))
        {
            Interlocked.MemoryBarrier();
            Wake();
        }
    }

    private void Wake()
    {
        if (_sleeping)
        {
            _wake.Set();
        }
    }

    private void Run()
    {
        while (!_stopping)
        {
            lock (_turn)
            {
                try
                {
                    PumpAll();
                }
                catch (Exception exception)
                {
                    Fail(exception);
                    return;
                }
            }

            Sleep();
        }
    }

    private void PumpAll()
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

        Flush();
        _sleepsUntilMs = _dueMs;
    }

    private void Pump(ReplicaGroup group)
    {
        group.Pump();
        _dueMs = Math.Min(_dueMs, NowMs() + Math.Max(0, group.DueInMs));
        if (++_unsaid >= PumpsUnsaid || _scheduled.IsEmpty)
        {
            Flush();
        }
    }

    private void Flush()
    {
        if (_unsaid > 0)
        {
            _unsaid = 0;
            _sender.Flush();
        }
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

        _unsaid = 1;
    }

    private void Fail(Exception exception)
    {
        _stopping = true;
        ReplicationEvents.LoopFailed(_logger, exception.Message, exception);
        _onFatal(exception);
    }

    private void Sleep()
    {
        // The flag is set before the last look at the queue, and who enqueues looks at the flag afterwards: one of the
        // two sees the other. Barriers keep each one's write before its read.
        _sleeping = true;
        Interlocked.MemoryBarrier();
        if (_scheduled.IsEmpty && !_stopping && _sleepsUntilMs - NowMs() is var wait and > 0)
        {
            _wake.WaitOne((int)wait);
        }

        _sleeping = false;
    }

    private static long NowMs() => Stopwatch.GetTimestamp() / (Stopwatch.Frequency / 1_000);
}
