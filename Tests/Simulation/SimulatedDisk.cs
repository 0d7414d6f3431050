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

    private bool _isWriterBusy;
    private bool _isBackgroundBusy;

    /// <summary>What the background thread does, while the disk hangs under it.</summary>
    private (SimulatedNode Replica, Action Work)? _stuck;

    public SimulatedDisk(World world, SimulatedMachine machine)
    {
        _world = world;
        _machine = machine;
        Device = new SimulatedDevice(world.Random.Next())
        {
            HasFragileSectors = static path => path.EndsWith("/vote", StringComparison.Ordinal),
            IsFull = path => _full.Any(group => IsOf(group, path)),
        };
    }

    public SimulatedDevice Device { get; }

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

        if (_stuck is { } stuck)
        {
            _stuck = null;
            Do(stuck);
        }
    }

    /// <summary>A replica has something to write: it is begun when the writer has come to it.</summary>
    public void Submit(SimulatedNode replica)
    {
        _toWrite.Add(replica);
        StartWriting();
    }

    /// <summary>The write that was begun for a replica has ended.</summary>
    public void EndWrite()
    {
        _isWriterBusy = false;
        StartWriting();
    }

    /// <summary>Later in virtual time, in order, and not at all when the process has died meanwhile.</summary>
    public void Run(SimulatedNode replica, Action work)
    {
        _toDo.Add((replica, work));
        StartWorking();
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
        _stuck = null;
        _isWriterBusy = _isBackgroundBusy = false;
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

    /// <summary>As the real writer: one thread, one write at a time.</summary>
    private void StartWriting()
    {
        if (!_isWriterBusy && _toWrite.Count > 0)
        {
            var next = _toWrite[0];
            _toWrite.RemoveAt(0);
            _isWriterBusy = true;
            next.BeginFlush();
        }
    }

    /// <summary>As the real one: one thread, one thing at a time.</summary>
    private void StartWorking()
    {
        if (!_isBackgroundBusy && _toDo.Count > 0)
        {
            var next = _toDo[0];
            _toDo.RemoveAt(0);
            _isBackgroundBusy = true;
            Do(next);
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
                _stuck = job;
                return;
            }

            _isBackgroundBusy = false;
            _machine.WhenRunning(job.Work);
            StartWorking();
        });
    }
}
