using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using Broker.Domain;

namespace Broker.Replication;

/// <summary>
/// Threads that wait for the disk on behalf of the groups. Mostly there is one, which sleeps or does what waits in its
/// order. A group whose work waits too long behind that of another, under which the disk may hang, asks for one more;
/// of those that have nothing to do one stays. The works of one group are done one after the other, so that there are
/// never more threads than groups. Bounded by its callers.
/// <para>The taker of a BlockingCollection first asks the scheduler again and again for another turn: with a write at a
/// time that was a third of a node's processor time.</para>
/// </summary>
internal sealed class GroupThreads<TWork>(
    string name, ThreadPriority priority, Action<TWork> work, Action<Exception> failed)
{
    private readonly object _gate = new(); // a Lock has no Wait
    private readonly List<(ReplicaGroup Group, TWork Work)> _waiting = [];
    private readonly HashSet<ReplicaGroup> _busy = [];
    private readonly List<Thread> _threads = [];
    private int _idle;
    private bool _isClosed;

    /// <summary>How many there are; for tests.</summary>
    public int Count
    {
        get
        {
            lock (_gate)
            {
                return _threads.Count;
            }
        }
    }

    public void Start()
    {
        lock (_gate)
        {
            StartThread();
        }
    }

    /// <summary>Gives the threads something to do; nothing any more when they are to end.</summary>
    public void Add(ReplicaGroup group, TWork item)
    {
        lock (_gate)
        {
            if (!_isClosed)
            {
                _waiting.Add((group, item));
                Monitor.Pulse(_gate);
            }
        }
    }

    /// <summary>This group's work has waited for long: one more thread begins it, if nobody is free to.</summary>
    public void Expedite(ReplicaGroup group)
    {
        lock (_gate)
        {
            if (!_isClosed && _idle == 0 && !_busy.Contains(group) && FindNext() >= 0)
            {
                StartThread();
            }
        }
    }

    /// <summary>
    /// Ends the threads after the work at hand; what waits is given up. Waits five seconds for all of them together.
    /// False: one hangs, and is left to the end of the process.
    /// </summary>
    public bool Stop() => Stop(TimeSpan.FromMilliseconds(Limits.StopWithinMs));

    /// <summary>The same with another patience; for tests.</summary>
    public bool Stop(TimeSpan patience)
    {
        Thread[] threads;
        lock (_gate)
        {
            _isClosed = true;
            threads = [.. _threads];
            Monitor.PulseAll(_gate);
        }

        // A thread that has ended is found so however late it is: who hangs takes the time of nobody else.
        var began = Stopwatch.GetTimestamp();
        var haveEnded = true;
        foreach (var thread in threads)
        {
            var left = patience - Stopwatch.GetElapsedTime(began);
            haveEnded &= thread.Join(left > TimeSpan.Zero ? left : TimeSpan.Zero);
        }

        return haveEnded;
    }

    private void StartThread()
    {
        var thread = new Thread(Run) { Name = name, IsBackground = true, Priority = priority };
        _threads.Add(thread);
        thread.Start();
    }

    private void Run()
    {
        try
        {
            while (TryTake(out var group, out var item))
            {
                work(item);
                lock (_gate)
                {
                    _busy.Remove(group);
                }
            }
        }
        catch (Exception failure)
        {
            failed(failure);
        }
    }

    private bool TryTake([NotNullWhen(true)] out ReplicaGroup? group, [MaybeNullWhen(false)] out TWork item)
    {
        (group, item) = (null, default);
        lock (_gate)
        {
            var next = FindNext();
            while (!_isClosed && next < 0 && _idle == 0)
            {
                _idle++;
                Monitor.Wait(_gate);
                _idle--;
                next = FindNext();
            }

            if (_isClosed || next < 0)
            {
                _threads.Remove(Thread.CurrentThread);
                return false;
            }

            (group, item) = _waiting[next];
            _waiting.RemoveAt(next);
            _busy.Add(group);
            return true;
        }
    }

    /// <summary>The oldest work of a group for which nothing is being done; -1: none.</summary>
    private int FindNext()
    {
        for (var i = 0; i < _waiting.Count; i++)
        {
            if (!_busy.Contains(_waiting[i].Group))
            {
                return i;
            }
        }

        return -1;
    }
}
