using Broker.Domain;

namespace Broker.Tests.Simulation;

/// <summary>
/// The disk of a machine, which its groups share, and the threads that wait for it: the log writer and the background.
/// It may be slow, full, hang, or fail with an error, for the files of one group or for all.
/// </summary>
internal sealed class SimulatedDisk
{
    /// <summary>
    /// Work in the background comes in long rows: with a disk that is slower still, it would be behind for minutes.
    /// </summary>
    private const int MaxBackgroundSlowness = 64;

    private readonly World _world;
    private readonly SimulatedMachine _machine;

    /// <summary>A flush of this group takes so many times as long as usual.</summary>
    private readonly Dictionary<GroupId, int> _slowness = [];

    /// <summary>Nothing of these groups is written or read until the disk is healed.</summary>
    private readonly HashSet<GroupId> _hung = [];

    private readonly HashSet<GroupId> _full = [];

    /// <summary>Replicas whose write waits for the writer, oldest first.</summary>
    private readonly List<SimulatedNode> _toWrite = [];

    /// <summary>What waits for the background thread, oldest first.</summary>
    private readonly List<(SimulatedNode Replica, Action Work)> _toDo = [];

    /// <summary>Replicas for which the background does something.</summary>
    private readonly HashSet<SimulatedNode> _busy = [];

    /// <summary>What threads of the background do while the disk hangs under them.</summary>
    private readonly List<(SimulatedNode Replica, Action Work)> _stuck = [];

    /// <summary>Threads that have nothing to do, see GroupThreads: never more than one.</summary>
    private bool _isWriterIdle = true;

    private bool _isBackgroundIdle = true;

    public SimulatedDisk(World world, SimulatedMachine machine)
    {
        _world = world;
        _machine = machine;
        Device = new SimulatedDevice(world.Random.Next())
        {
            HasFragileSectors = static path => path.EndsWith("/vote", StringComparison.Ordinal),
            IsFull = path => _full.Any(group => IsOf(group, path)),
            OnTouch = what => World.Check(!IsLoopAtWork, $"node {machine.Id}: the loop waits for {what}"),
        };
    }

    public SimulatedDevice Device { get; }

    /// <summary>The loop, which looks after all groups, never waits for a disk.</summary>
    public bool IsLoopAtWork { get; set; }

    /// <summary>Nothing is wrong with it.</summary>
    public bool IsSound => Device.Fault is null && _full.Count == 0 && _hung.Count == 0;

    private Random Random => _world.Random;

    public static string FolderOf(GroupId group) => $"/data/group-{group}";

    public int SlownessOf(GroupId group) => _slowness.GetValueOrDefault(group, 1);

    public bool IsHung(GroupId group) => _hung.Contains(group);

    /// <summary>The disk stalls; the flush that is under way keeps its pace.</summary>
    public void Slow(IEnumerable<GroupId> groups, int slowness)
    {
        foreach (var group in groups)
        {
            _slowness[group] = slowness;
        }
    }

    /// <summary>What is allocated can still be written; what grows cannot.</summary>
    public void Fill(IEnumerable<GroupId> groups) => _full.UnionWith(groups);

    /// <summary>Nothing comes to an end any more, neither what is under way nor what follows.</summary>
    public void Hang(IEnumerable<GroupId> groups)
    {
        _hung.UnionWith(groups);
        foreach (var replica in _machine.Replicas)
        {
            if (IsHung(replica.GroupId))
            {
                replica.StopFlush();
            }
        }
    }

    /// <summary>Every change of these files fails from now on, for good.</summary>
    public void Fail(IReadOnlyCollection<GroupId> groups) => Device.Fault = (_, path) =>
        groups.Any(group => IsOf(group, path)) ? SimulatedDeviceFault.IoError : SimulatedDeviceFault.None;

    /// <summary>The disk is as it should be, for what is under way too.</summary>
    public void Heal()
    {
        Device.Fault = null;
        Device.CapacityBytes = long.MaxValue;
        _full.Clear();
        _slowness.Clear();
        _hung.Clear();
        foreach (var replica in _machine.Replicas)
        {
            replica.ResumeFlush();
        }

        var stuck = _stuck.ToArray();
        _stuck.Clear();
        foreach (var job in stuck)
        {
            Do(job);
        }
    }

    /// <summary>A replica has something to write: it is begun when a thread of the writer has come to it.</summary>
    public void Submit(SimulatedNode replica)
    {
        _toWrite.Add(replica);
        if (_isWriterIdle)
        {
            BeginWrite();
        }
    }

    /// <summary>The write that was begun for a replica has ended.</summary>
    public void EndWrite()
    {
        _isWriterIdle = true;
        BeginWrite();
    }

    /// <summary>Later in virtual time, in order, and not at all when the process has died meanwhile.</summary>
    public void Run(SimulatedNode replica, Action work)
    {
        _toDo.Add((replica, work));
        if (_isBackgroundIdle)
        {
            BeginWork();
        }
    }

    /// <summary>What a replica has waiting is begun by one more thread, when no other is free.</summary>
    public void Expedite(SimulatedNode replica)
    {
        if (!_isWriterIdle && _toWrite.Contains(replica))
        {
            _world.Figures.Count(Figure.WriteExpedited);
            BeginWrite();
        }

        if (!_isBackgroundIdle && !_busy.Contains(replica))
        {
            BeginWork();
        }
    }

    /// <summary>Opens what the replicas have on the disk; another crash within that has all begin anew.</summary>
    public void Open(IReadOnlyList<SimulatedNode> replicas)
    {
        for (var opened = 0; opened < replicas.Count;)
        {
            try
            {
                replicas[opened].Open();
                opened++;
            }
            catch (SimulatedPowerCutException)
            {
                _machine.Say("crashes while it recovers");
                _world.Figures.Count(Figure.CrashWithinRecovery);
                LosePower();
                opened = 0;
            }
            catch (IOException failure) when (!IsSound)
            {
                _machine.Say($"cannot start: {failure.Message}");
                Heal();
                LosePower();
                opened = 0;
            }
        }
    }

    /// <summary>The process dies, alone or with its machine, between two writes or within one.</summary>
    public void Crash(IReadOnlyList<SimulatedNode> replicas, bool isOrderly)
    {
        _slowness.Clear();
        _hung.Clear();
        _toWrite.Clear();
        _toDo.Clear();
        _stuck.Clear();
        _busy.Clear();
        _isWriterIdle = _isBackgroundIdle = true;
        IsLoopAtWork = false;
        if (isOrderly)
        {
            // The logs' ends are known from now on.
            foreach (var replica in replicas)
            {
                replica.Close();
            }

            Device.Kill();
            return;
        }

        Device.Fault = null;
        foreach (var replica in replicas.OrderBy(_ => replicas.Count == 1 ? 0 : Random.Next()))
        {
            replica.Tear();
        }

        LosePower();
    }

    private static bool IsOf(GroupId group, string path)
    {
        var folder = FolderOf(group);
        return path.StartsWith(folder, StringComparison.Ordinal)
            && (path.Length == folder.Length || path[folder.Length] == '/');
    }

    private void LosePower()
    {
        if (Random.Next(3) == 0)
        {
            _world.Figures.Count(Figure.Kill);
            Device.Kill();
        }
        else
        {
            _world.Figures.Count(Figure.PowerLoss);
            Device.Crash((SimulatedDeviceCrash)Random.Next(3));
        }
    }

    private void BeginWrite()
    {
        if (_toWrite.Count > 0)
        {
            var next = _toWrite[0];
            _toWrite.RemoveAt(0);
            _isWriterIdle = false;
            next.BeginFlush();
        }
    }

    /// <summary>The works of one replica are done one after the other.</summary>
    private void BeginWork()
    {
        var next = _toDo.FindIndex(job => !_busy.Contains(job.Replica));
        if (next >= 0)
        {
            var job = _toDo[next];
            _toDo.RemoveAt(next);
            _isBackgroundIdle = false;
            _busy.Add(job.Replica);
            Do(job);
        }
    }

    private void Do((SimulatedNode Replica, Action Work) job)
    {
        var life = _machine.Life;
        var slowness = Math.Min(SlownessOf(job.Replica.GroupId), MaxBackgroundSlowness);
        _world.Scheduler.After(Random.Next(20, 5_000) * slowness, () =>
        {
            if (life != _machine.Life)
            {
                return;
            }

            if (IsHung(job.Replica.GroupId))
            {
                _stuck.Add(job);
                return;
            }

            _busy.Remove(job.Replica);
            _isBackgroundIdle = true;
            _machine.WhenRunning(job.Work);
            BeginWork();
        });
    }
}
