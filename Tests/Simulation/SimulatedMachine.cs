using Broker.Domain;
using Broker.Transport;

namespace Broker.Tests.Simulation;

/// <summary>
/// One broker of the simulated cluster: a process that starts, crashes and pauses, with a disk of its own and a clock
/// of its own speed. It holds one replica of each group, as the real process does.
/// </summary>
internal sealed class SimulatedMachine
{
    /// <summary>
    /// So many windows of a group may be read and on their way to learners, of which there may be several, each with
    /// what it was sent again, before the node is held to its rate.
    /// </summary>
    private const int CopyWindows = 40;

    /// <summary>
    /// As many more where messages overtake one another: each late refusal has all that is on its way sent again.
    /// </summary>
    private const int CopyWindowsWithoutOrder = 4 * CopyWindows;

    /// <summary>One that is larger than the window leaves alone.</summary>
    private const int LargeEntryBytes = 16 * 1024;

    private readonly World _world;
    private readonly TransferThrottle _transfers;
    private readonly Queue<Action> _whilePaused = new();

    public SimulatedMachine(World world, int id, NodeRoles roles)
    {
        _world = world;
        Roles = roles;
        Id = new NodeId(id);
        ClockRate = 1 + (((world.Random.NextDouble() * 2) - 1) * world.Scenario.ClockSkew);
        Disk = new SimulatedDisk(world, this);
        _transfers = new TransferThrottle(
            world.Scenario.TransferBytesPerSecond, new NodeClock(world.Scheduler, ClockRate));
    }

    public NodeId Id { get; }

    /// <summary>What its node is for.</summary>
    public NodeRoles Roles { get; }

    public double ClockRate { get; }

    public SimulatedDisk Disk { get; }

    /// <summary>One of each group, in their order; of a dedicated controller that of the first.</summary>
    public List<SimulatedNode> Replicas { get; } = [];

    public bool IsUp { get; private set; }

    /// <summary>It was removed from the cluster, and never starts again.</summary>
    public bool IsGone { get; set; }

    public bool IsPaused { get; private set; }

    /// <summary>Counts starts and crashes: what an earlier life had scheduled does not happen.</summary>
    public int Life { get; private set; }

    public bool LeadsAny => Replicas.Exists(static replica => replica.IsLeader);

    /// <summary>A replica of it is hurt: it is one of the minority that may be so.</summary>
    public bool IsHurt => Replicas.Exists(static replica => replica.IsHurt);

    /// <summary>The first group is what controllers vote in.</summary>
    public bool MayVoteIn(GroupId group) => Roles.VoteIn(new GroupId(group.Value - 1));

    /// <summary>The same, where only some of those that may are to vote.</summary>
    public bool VotesIn(GroupId group) =>
        MayVoteIn(group) && _world.Membership?.IsPlacedIn(Id, group) != false;

    public void Start()
    {
        if (!IsUp && !IsGone)
        {
            Life++;
            Disk.Open(Replicas);
            IsUp = true;
            Replicas.ForEach(static replica => replica.Start());
            _world.Network.ConnectAll(Id.Value);
            ScheduleTick(Life);
        }
    }

    /// <summary>The process ends: with its machine, by kill -9, or in good order, its logs closed.</summary>
    public void Crash(bool isOrderly = false)
    {
        if (IsUp)
        {
            Say("crashes");
            Life++;
            IsUp = false;
            IsPaused = false;
            _whilePaused.Clear();
            Replicas.ForEach(static replica => replica.Crash());
            Disk.Crash(Replicas, isOrderly);
            _world.Network.BreakAll(Id.Value);
        }
    }

    /// <summary>As SIGSTOP: the process does nothing, the network and the disk go on.</summary>
    public void Pause()
    {
        if (IsUp && !IsPaused)
        {
            Say("pauses");
            IsPaused = true;
        }
    }

    public void Resume()
    {
        if (IsPaused)
        {
            Say("resumes");
            IsPaused = false;
            while (!IsPaused && _whilePaused.TryDequeue(out var action))
            {
                action();
            }
        }
    }

    /// <summary>Does it now, or when the process is resumed, or never when it crashes before.</summary>
    public void WhenRunning(Action action)
    {
        if (IsPaused)
        {
            _whilePaused.Enqueue(() => WhenRunning(action));
        }
        else if (IsUp)
        {
            action();
        }
    }

    /// <summary>Damages files of a group, or of all, of a process that ends; false when there are none.</summary>
    public bool TryHurt()
    {
        if (!Replicas.TrueForAll(static replica => replica.CanBeHurt))
        {
            return false;
        }

        var isOrderly = IsUp && Disk.IsSound && !Replicas.Exists(static replica => replica.IsWriting)
            && _world.Random.Next(3) > 0;
        var victims = Replicas.Count > 1 && _world.Random.Next(3) > 0
            ? [Replicas[_world.Random.Next(Replicas.Count)]]
            : Replicas.ToArray();
        foreach (var victim in victims)
        {
            victim.ChooseDamage(isOrderly);
        }

        Crash(isOrderly);
        Disk.Heal();
        foreach (var victim in victims)
        {
            victim.Hurt();
        }

        return true;
    }

    /// <summary>
    /// The process ends, and a bit of the last entry of one of its replicas has flipped (see
    /// <see cref="SimulatedNode.LoseLast"/>); false when nothing is done.
    /// </summary>
    public bool TryLoseLast(SimulatedNode replica, bool isProven)
    {
        if (!IsUp || IsPaused || !replica.TryChooseLast())
        {
            return false;
        }

        Crash();
        Disk.Heal();
        replica.LoseLast(isProven);
        return true;
    }

    /// <summary>A learner's copy is read from this node's disk, of any group: for how long it gets no more.</summary>
    public TimeSpan ChargeCopy(long bytes)
    {
        var debt = _transfers.Charge(0);
        var window = Math.Max(_world.Scenario.MaxInFlightBytes, _world.Scenario.MaxAppendBytes);
        var windows = _world.Scenario.HasStreams ? CopyWindows : CopyWindowsWithoutOrder;
        var most = windows * Replicas.Count * (long)Math.Max(window, LargeEntryBytes);
        var largest = Replicas.Max(replica => _world.GroupOf(replica.GroupId).LargestEntryBytes);
        if (largest > LargeEntryBytes)
        {
            // What came while nobody led may be in one entry, and each learner is sent that before it is held.
            most += _world.Machines.Count * Replicas.Count * largest;
        }

        World.Check(
            debt.TotalSeconds * _world.Scenario.TransferBytesPerSecond <= most,
            $"node {Id} sends learners more than it may: {debt} ahead of its rate");
        _world.Figures.Count(Figure.CopyHeldBack, debt > TimeSpan.Zero ? 1 : 0);
        return _transfers.Charge(bytes);
    }

    public void TellUnreachable(NodeId peer) => Replicas.ForEach(replica => replica.TellUnreachable(peer));

    public void TellReachable(NodeId peer) => Replicas.ForEach(replica => replica.TellReachable(peer));

    public void JumpClock(TimeSpan jump) => Replicas.ForEach(replica => replica.JumpClock(jump));

    public void Say(string what)
    {
        if (_world.Trace.IsOn)
        {
            _world.Trace.Write($"n{Id}", what);
        }
    }

    /// <summary>One loop looks at all groups.</summary>
    private void ScheduleTick(int life) => _world.Scheduler.After(1_000 + _world.Random.Next(9_000), () =>
    {
        for (var i = 0; i < Replicas.Count && life == Life && !IsPaused; i++)
        {
            Replicas[i].Tick();
        }

        if (life == Life)
        {
            ScheduleTick(life);
        }
    });
}
