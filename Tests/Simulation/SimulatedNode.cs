using Broker.Cluster;
using Broker.Consensus;
using Broker.Domain;

namespace Broker.Tests.Simulation;

/// <summary>
/// One broker of the simulated cluster: a process that starts, crashes, pauses, with a disk of its own pace and a clock
/// of its own speed. What runs in the process is the subclass's affair.
/// </summary>
internal abstract class SimulatedNode
{
    private const long HealthyFlushMaxUs = 1_000;

    /// <summary>
    /// The longest election timeout, a heartbeat and a tick, by the slowest clock, and some more.
    /// </summary>
    private const long LeaderHearsWithinUs = 2_000_000;

    private readonly Queue<Action> _whilePaused = new();

    /// <summary>When a message of each node last arrived, and when this node last did not lead.</summary>
    private readonly long[] _heardUs;

    private long _ledNotUs;

    /// <summary>Counts flushes and crashes: a flush that was given up or begun again does not end twice.</summary>
    private int _flush;

    protected SimulatedNode(World world, int id)
    {
        World = world;
        _heardUs = new long[world.Scenario.Nodes + 1];
        ClockRate = 1 + (((world.Random.NextDouble() * 2) - 1) * world.Scenario.ClockSkew);
        Options = new RaftOptions
        {
            Id = new NodeId(id),
            Voters = [.. Enumerable.Range(1, world.Scenario.Nodes).Select(voter => new NodeId(voter))],
            MaxAppendBytes = world.Scenario.MaxAppendBytes,
            MaxInFlightBytes = world.Scenario.MaxInFlightBytes,
            MaxUncommittedBytes = world.Scenario.MaxUncommittedBytes,
            HeartbeatInterval = BrokerNode.HeartbeatInterval,
            ElectionTimeoutMin = BrokerNode.ElectionTimeoutMin,
            PreferredLeader = new NodeId(1),
        };
    }

    public NodeId Id => Options.Id;

    public bool IsUp { get; private set; }

    public abstract bool IsLeader { get; }

    public abstract Term Term { get; }

    /// <summary>What it has applied since it started; 0 while it is down.</summary>
    public abstract LogIndex AppliedIndex { get; }

    public abstract LogIndex LastIndex { get; }

    /// <summary>A write is under way, or waits for its turn.</summary>
    public abstract bool IsWriting { get; }

    /// <summary>What a reader of its disk would find at this moment.</summary>
    public abstract HardState DurableHardState { get; }

    /// <summary>
    /// Its disk was damaged, and it has not got back everything yet: it is one of the minority that may be so.
    /// </summary>
    public bool IsHurt { get; protected set; }

    /// <summary>The members of the group, as this node knows them.</summary>
    public virtual GroupConfiguration Members => new(LogIndex.None, Options.Voters, []);

    protected World World { get; }

    protected RaftOptions Options { get; }

    protected double ClockRate { get; }

    /// <summary>A flush takes so many times as long as usual.</summary>
    protected int Slowness { get; private set; } = 1;

    /// <summary>Counts starts and crashes: what an earlier life had scheduled does not happen.</summary>
    protected int Life { get; private set; }

    protected bool IsPaused { get; private set; }

    /// <summary>The entry in its log, durable or not; null when it has none there.</summary>
    public abstract Entry? EntryAt(LogIndex index);

    public abstract Entry? DurableAt(LogIndex index);

    /// <summary>All of its log, from the first entry on.</summary>
    public abstract void ReadLog(List<Entry> into);

    public abstract void Receive(Packet packet);

    public abstract void TellUnreachable(NodeId peer);

    public abstract void TellReachable(NodeId peer);

    public abstract void Transfer(NodeId target);

    /// <summary>A client's proposals, several at once.</summary>
    public abstract void Propose(int count);

    /// <summary>An operator's wish; a node without topics ignores it.</summary>
    public virtual void Purge(string topic)
    {
    }

    /// <summary>The wall clock jumps; a node that has none does not mind.</summary>
    public virtual void JumpClock(TimeSpan jump)
    {
    }

    /// <summary>
    /// The disk fails for good, or is full until it is healed; a node with a plain disk knows no such thing.
    /// </summary>
    public virtual void FailDisk(bool isFull)
    {
    }

    /// <summary>Damages files of the disk, of a process that ends; false when this node has none.</summary>
    public virtual bool TryHurt() => false;

    /// <summary>
    /// Kills the process and flips a bit in the last entry that its log made durable; false when nothing is done. With
    /// a proof the next start must know that it lacks this entry; without one it may take it for a write that never
    /// returned.
    /// </summary>
    public virtual bool TryLoseLast(bool isProven) => false;

    /// <summary>Has this leader remove a member; false when it does not try.</summary>
    public virtual bool TryRemove(NodeId node) => false;

    /// <summary>
    /// Asks for a linearizable read: its answer must not miss what was acknowledged before it began.
    /// </summary>
    public virtual void Read()
    {
    }

    /// <summary>What the disk once held, and has lost by damage, while the replica knows that it lacks it.</summary>
    public virtual Entry? LostAt(LogIndex index) => null;

    /// <summary>
    /// A message arrives, whatever becomes of it. A process that is paused hears it when it goes on, and cannot know
    /// that it is old.
    /// </summary>
    public void Hear(NodeId from) => WhenRunning(() => _heardUs[from.Value] = World.Scheduler.NowUs);

    public void Start()
    {
        if (!IsUp)
        {
            Life++;
            IsUp = true;
            OnStart();
            World.Network.ConnectAll(Id.Value);
            ScheduleTick(Life);
        }
    }

    public void Crash()
    {
        if (IsUp)
        {
            Say("crashes");
            Life++;
            _flush++;
            Slowness = 1;
            IsUp = false;
            IsPaused = false;
            _whilePaused.Clear();
            OnCrash();
            World.Network.BreakAll(Id.Value);
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

    /// <summary>The disk stalls; the flush that is under way keeps its pace.</summary>
    public void SlowDisk(int slowness) => Slowness = slowness;

    /// <summary>The disk has its usual pace again, for the flush that is under way too.</summary>
    public virtual void HealDisk()
    {
        Slowness = 1;
        if (IsWriting)
        {
            ScheduleFlush();
        }
    }

    protected abstract void OnStart();

    protected abstract void OnCrash();

    protected abstract void OnTick();

    protected abstract void FinishWriting();

    /// <summary>Does it now, or when the process is resumed, or never when it crashes before.</summary>
    protected void WhenRunning(Action action)
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

    protected void ScheduleFlush(long extraUs = 0)
    {
        var flush = ++_flush;
        var maxUs = World.Network.IsHealed ? HealthyFlushMaxUs : World.Scenario.FlushMaxUs;
        var delayUs = World.Random.NextInt64(World.Scenario.FlushMinUs, maxUs) * Slowness;
        World.Scheduler.After(delayUs + extraUs, () =>
        {
            if (flush == _flush)
            {
                FinishWriting();
            }
        });
    }

    protected void Say(string what) => Trace(() => what);

    protected void Trace(Func<string> what)
    {
        if (World.Trace.IsOn)
        {
            World.Trace.Write($"n{Id}", what());
        }
    }

    /// <summary>
    /// A leader that hears no majority steps down, so that its clients look elsewhere (Raft thesis 6.2).
    /// </summary>
    private void CheckHearsMajority()
    {
        if (!IsLeader)
        {
            _ledNotUs = World.Scheduler.NowUs;
            return;
        }

        var sinceUs = World.Scheduler.NowUs - LeaderHearsWithinUs;
        var heard = 0;
        var voters = Members.Voters;
        foreach (var voter in voters)
        {
            heard += voter == Id || _heardUs[voter.Value] > sinceUs ? 1 : 0;
        }

        var holds = _ledNotUs > sinceUs || heard > voters.Length / 2;
        World.Check(holds, $"node {Id} goes on leading, although it hears only {heard} nodes with itself");
    }

    private void ScheduleTick(int life) => World.Scheduler.After(1_000 + World.Random.Next(9_000), () =>
    {
        if (life == Life)
        {
            if (!IsPaused)
            {
                OnTick();
                CheckHearsMajority();
            }

            ScheduleTick(life);
        }
    });
}
