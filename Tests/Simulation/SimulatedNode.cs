using Broker.Cluster;
using Broker.Consensus;
using Broker.Domain;

namespace Broker.Tests.Simulation;

/// <summary>
/// The replica of one group in a process of the simulated cluster. What it is made of is the subclass's affair.
/// </summary>
internal abstract class SimulatedNode
{
    private const long HealthyFlushMaxUs = 1_000;

    /// <summary>
    /// The longest election timeout, a heartbeat and a tick, by the slowest clock, and some more.
    /// </summary>
    private const long LeaderHearsWithinUs = 2_000_000;

    /// <summary>When a message of each node last arrived, and when this node last did not lead.</summary>
    private readonly long[] _heardUs;

    private long _ledNotUs;

    /// <summary>Counts flushes and crashes: a flush that was given up or begun again does not end twice.</summary>
    private int _flush;

    /// <summary>The writer is at this replica's write.</summary>
    private bool _isFlushing;

    protected SimulatedNode(SimulatedGroup group, SimulatedMachine machine)
    {
        Group = group;
        Machine = machine;
        World = group.World;
        var world = World;
        _heardUs = new long[world.Scenario.Nodes + world.Scenario.Joiners + 1];
        Options = new RaftOptions
        {
            Id = machine.Id,
            Voters = FoundersOf(group),
            MaxAppendBytes = world.Scenario.MaxAppendBytes,
            MaxInFlightBytes = world.Scenario.MaxInFlightBytes,
            MaxUncommittedBytes = world.Scenario.MaxUncommittedBytes,
            HeartbeatInterval = BrokerNode.HeartbeatInterval,
            ElectionTimeoutMin = BrokerNode.ElectionTimeoutMin,
            CommitNoticeDelay = TimeSpan.FromMilliseconds(world.Scenario.CommitNoticeMs),
            PreferredLeader = FoundersOf(group)[(group.Id.Value - 1) % FoundersOf(group).Count],
        };
    }

    /// <summary>Those that a group began with.</summary>
    public static IReadOnlyList<NodeId> FoundersOf(SimulatedGroup group) =>
        [.. Enumerable.Range(1, group.World.Scenario.Nodes).Where(id => group.World.MachineOf(id).VotesIn(group.Id))
            .Select(static id => new NodeId(id))];

    /// <summary>It votes, or receives the log where it is never to vote.</summary>
    public bool IsWhatItShouldBe => Machine.VotesIn(GroupId) ? Members.IsVoter(Id) : Members.IsLearner(Id);

    public NodeId Id => Options.Id;

    /// <summary>Somebody listens at every second node.</summary>
    public bool IsAwaited => Id.Value % 2 == 0;

    public GroupId GroupId => Group.Id;

    public SimulatedMachine Machine { get; }

    public bool IsUp => Machine.IsUp;

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

    /// <summary>
    /// The voters of the smallest group that it may take to be its own, now or after a crash: what it has in memory may
    /// not have reached the disk.
    /// </summary>
    public virtual int LeastVoters => Members.Voters.Length;

    /// <summary>It says that what it has for the disk takes far too long.</summary>
    public virtual bool IsStalled => false;

    /// <summary>It has files that can be damaged.</summary>
    public virtual bool CanBeHurt => false;

    /// <summary>The last entry of its disk was damaged, and it may have no more than a doubt of that.</summary>
    public virtual bool LosesLast => false;

    protected World World { get; }

    protected SimulatedGroup Group { get; }

    protected RaftOptions Options { get; }

    protected double ClockRate => Machine.ClockRate;

    /// <summary>Of the process, see <see cref="SimulatedMachine.Life"/>.</summary>
    protected int Life => Machine.Life;

    protected bool IsPaused => Machine.IsPaused;

    /// <summary>The entry in its log, durable or not; null when it has none there.</summary>
    public abstract Entry? EntryAt(LogIndex index);

    public abstract Entry? DurableAt(LogIndex index);

    /// <summary>What its disk had there until the last write cut it off.</summary>
    public virtual Entry? CutAt(LogIndex index) => null;

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

    /// <summary>A client publishes one record; a node without topics ignores it.</summary>
    public virtual void PublishOnce(string topic, Action done)
    {
    }

    /// <summary>A consumer reads from this node; one without topics ignores it.</summary>
    public virtual void ReadTopic()
    {
    }

    /// <summary>A consumer reads all that there is.</summary>
    public virtual void ReadTopics()
    {
    }

    /// <summary>The wall clock jumps; a node that has none does not mind.</summary>
    public virtual void JumpClock(TimeSpan jump)
    {
    }

    /// <summary>Its files shall be damaged when the process has ended, maybe in good order.</summary>
    public virtual void ChooseDamage(bool isOrderly)
    {
    }

    /// <summary>Damages what was chosen.</summary>
    public virtual void Hurt()
    {
    }

    /// <summary>Opens its files and looks at what is there; may meet another crash.</summary>
    public virtual void Open()
    {
    }

    /// <summary>Closes its files in good order.</summary>
    public virtual void Close()
    {
    }

    /// <summary>The process dies within the write that is under way, if there is one.</summary>
    public virtual void Tear()
    {
    }

    /// <summary>
    /// The last entry that its log made durable shall be damaged when the process has ended; false when there is none
    /// that can be.
    /// </summary>
    public virtual bool TryChooseLast() => false;

    /// <summary>
    /// Flips a bit in it. With a proof the next start must know that it lacks this entry; without one it may take it
    /// for a write that never returned.
    /// </summary>
    public virtual void LoseLast(bool isProven)
    {
    }

    /// <summary>Its disk loses what it has promised, while the process is down.</summary>
    public virtual void LosePromises(bool isEnd)
    {
    }

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

    /// <summary>The process starts; the files are open.</summary>
    public void Start() => OnStart();

    /// <summary>The process ends.</summary>
    public void Crash()
    {
        _flush++;
        _isFlushing = false;
        OnCrash();
    }

    public void Tick()
    {
        OnTick();
        CheckHearsMajority();
    }

    /// <summary>The writer has come to this replica's write.</summary>
    public void BeginFlush()
    {
        _isFlushing = true;
        if (!Machine.Disk.IsHung(GroupId))
        {
            ScheduleFlush();
        }
    }

    /// <summary>What is being flushed comes to no end.</summary>
    public void StopFlush() => _flush++;

    /// <summary>The disk has its usual pace again, for the flush that is under way too.</summary>
    public void ResumeFlush()
    {
        if (_isFlushing)
        {
            ScheduleFlush();
        }
    }

    protected abstract void OnStart();

    protected abstract void OnCrash();

    protected abstract void OnTick();

    protected abstract void FinishWriting();

    /// <summary>Does it now, or when the process is resumed, or never when it crashes before.</summary>
    public void WhenRunning(Action action) => Machine.WhenRunning(action);

    /// <summary>The writer goes on to the next write.</summary>
    protected void EndFlush()
    {
        _isFlushing = false;
        Machine.Disk.EndWrite();
    }

    private void ScheduleFlush()
    {
        var flush = ++_flush;
        var maxUs = World.Network.IsHealed ? HealthyFlushMaxUs : World.Scenario.FlushMaxUs;
        var delayUs = World.Random.NextInt64(World.Scenario.FlushMinUs, maxUs) * Machine.Disk.SlownessOf(GroupId);
        World.Scheduler.After(delayUs, () =>
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
            World.Trace.Write(World.Groups.Count == 1 ? $"n{Id}" : $"n{Id}g{GroupId}", what());
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
}
