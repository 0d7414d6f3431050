using Broker.ClusterState;
using Broker.Consensus;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Replication;
using Broker.Storage;
using Broker.Topics;
using Microsoft.Extensions.Logging.Abstractions;

namespace Broker.Tests.Simulation;

/// <summary>
/// A replica that is a real ReplicaGroup over a real GroupLog on a simulated disk, with the real state machine of a
/// data shard. Only threads, files, sockets and clocks are simulated.
/// </summary>
internal sealed partial class ReplicaNode : SimulatedNode, IPeerSender, IBackgroundWork
{
    private static readonly BrokerMetrics Metrics = new();

    private readonly NodeClock _clock;

    private readonly List<LogEntry> _read = [];

    private ReplicaGroup? _group;
    private RecordingMachine? _machine;
    private GroupStatus? _status;
    private LogIndex _checkedIndex;
    private bool _isPumpScheduled;
    private GroupConfiguration? _lastMembers;

    /// <summary>See <see cref="LeastVoters"/>: as the last crash left it, or may have left it.</summary>
    private int _leastVotersOnDisk;

    /// <summary>It went over to a leader's snapshot beside its own log, of a part of which it has no index.</summary>
    private bool _hasAdopted;

    private readonly PendingCalls _calls;

    /// <summary>Snapshots that came since the start, and whether the replica was in need of one then.</summary>
    private readonly List<(LogIndex Index, byte[] Data, bool IsNeeded)> _received = [];

    public ReplicaNode(SimulatedGroup group, SimulatedMachine machine)
        : base(group, machine)
    {
        _clock = new NodeClock(World.Scheduler, ClockRate);
        _calls = new PendingCalls(this, group);
        _durable = new DurableLog(this, group.History);
        _device = machine.Disk.Device;
        _folder = SimulatedDisk.FolderOf(GroupId);
        _fileDamage = new FileDamage(World, _device, _folder, Say);
        var nonces = new Random(World.Random.Next());
        _storageOptions = new StorageOptions
        {
            FirstSegmentBytes = Math.Min(16 * 1024, World.Scenario.SegmentBytes),
            SegmentBytes = World.Scenario.SegmentBytes,
            ZeroAheadBytes = 4 * 1024,
            NewNonce = () => (ulong)nonces.NextInt64(),
        };
    }

    /// <summary>The newest of its disk; none: there is none.</summary>
    public LogIndex NewestSnapshot => _log!.Snapshots.List() is [.., var newest] ? newest : LogIndex.None;

    /// <summary>The same, also of what was found damaged since: the node hears of that once a second.</summary>
    public LogIndex NewestSnapshotOfBefore
    {
        get
        {
            var newest = LogIndex.None;
            foreach (var name in _device.List(_folder))
            {
                if (GroupFolder.TryParseSnapshot(name, out var index)
                    || GroupFolder.TryParseBadSnapshot(name, out index))
                {
                    newest = LogIndex.Max(newest, index);
                }
            }

            return newest;
        }
    }

    public override bool IsLeader => _status?.Role == RaftRole.Leader;

    public override Term Term => _status?.Term ?? DurableHardState.Term;

    public override LogIndex AppliedIndex => _status?.AppliedIndex ?? LogIndex.None;

    public override LogIndex LastIndex => _status?.LastIndex ?? _durable.LastIndex;

    public LogIndex BaseIndex => _status?.Condition.BaseIndex ?? LogIndex.None;

    /// <summary>The newest snapshot that is not that at the base; null: there is none.</summary>
    public LogIndex? SnapshotBehindBase =>
        _status is { } status && status.Condition.SnapshotIndex > status.Condition.BaseIndex
            ? status.Condition.SnapshotIndex
            : null;

    public override Entry? EntryAt(LogIndex index)
    {
        if (_group is null || index < new LogIndex(1))
        {
            return null;
        }

        if (index <= _log!.Base.Index)
        {
            return DurableAt(index);
        }

        // This look at the disk is the simulation's own.
        var isLoopAtWork = Machine.Disk.IsLoopAtWork;
        Machine.Disk.IsLoopAtWork = false;
        try
        {
            _read.Clear();
            return _group.ReadEntries(index, index, int.MaxValue, _read) == 0 ? null : Entry.Identify(_read[0]);
        }
        catch (StorageCorruptException damage) when (IsHurt || damage is HollowSegmentException)
        {
            // It is part of the log and waits for repair, or others keep what it says.
            return DurableAt(index);
        }
        finally
        {
            Machine.Disk.IsLoopAtWork = isLoopAtWork;
        }
    }

    /// <summary>While it is down, what it last knew.</summary>
    public override GroupConfiguration Members => _status?.Condition.Configuration ?? _lastMembers ?? base.Members;

    public override int LeastVoters => IsHurt
        ? base.LeastVoters
        : Math.Min(base.LeastVoters, _log is null ? _leastVotersOnDisk : VotersOnDisk());

    public override bool TryRemove(NodeId node)
    {
        if (!IsUp || IsPaused)
        {
            return false;
        }

        _calls.AddChange(_group!.ChangeConfigurationAsync(
            new MembershipChange(MembershipChangeKind.Remove, node), CancellationToken.None));
        return true;
    }

    public override void Read() => WhenRunning(() =>
        _calls.AddRead(Group.History.LastAcknowledged, _group!.ReadIndexAsync(CancellationToken.None)));

    /// <summary>A read here, for which a node that believes to lead is asked how far this one must be.</summary>
    public void ReadByWordOf(ReplicaNode leader)
    {
        var acknowledged = Group.History.LastAcknowledged;
        leader.WhenRunning(() => _calls.AddAsked(acknowledged, leader.AskIndex()));
    }

    public Task<LogIndex> WaitForApplied(LogIndex index) => _group!.WaitForAppliedAsync(index, CancellationToken.None);

    public override void ReadLog(List<Entry> into)
    {
        into.AddRange(_durable.Through(_log!.Base.Index));
        for (var next = _log.FirstIndex; next <= LastIndex;)
        {
            var hollow = _log.SealedSegments.FirstOrDefault(each => each.HollowThrough >= next);
            if (hollow.HollowThrough > LogIndex.None && hollow.First <= next)
            {
                into.AddRange(_durable.Through(hollow.HollowThrough).Skip(into.Count));
                next = hollow.HollowThrough.Next();
                continue;
            }

            _read.Clear();
            var end = hollow.HollowThrough > LogIndex.None ? hollow.First.Previous() : LastIndex;
            var count = _group!.ReadEntries(next, end, int.MaxValue, _read);
            World.Check(count > 0, $"node {Id} can read entry {next}");
            into.AddRange(_read.Select(Entry.Identify));
            next += count;
        }
    }

    public override void Receive(Packet packet) => WhenRunning(() =>
    {
        Trace(() => $"gets  {packet.Message}");
        _group!.Receive(packet.Wire!);
    });

    public override void TellUnreachable(NodeId peer) => WhenRunning(() => _group!.PeerUnreachable(peer));

    public override void TellReachable(NodeId peer) => WhenRunning(() => _group!.PeerReachable(peer));

    public override void Transfer(NodeId target) => WhenRunning(() => _group!.TransferLeadership(target));

    public override void JumpClock(TimeSpan jump) => _clock.Jump = jump;

    /// <summary>Publishes without a stamp: a refusal that says so must have stored nothing.</summary>
    public override void Propose(int count)
    {
        for (; count > 0; count--)
        {
            // Of a large batch little is left when it is gone.
            var number = World.NextValue();
            var records = World.Scenario.Purges && World.Random.Next(2) == 0 ? World.Random.Next(1, 300) : 1;
            Publish("load", PublishStamp.None, records, number, dueMs: 0, (_, refusal) =>
            {
                if (refusal is { Code: not RefusalCode.OutcomeUnknown })
                {
                    Group.History.NoteRefused(number);
                }
            });
        }
    }

    public void Publish(
        string topic,
        PublishStamp stamp,
        int count,
        long number,
        long dueMs,
        Action<CommandResult?, BrokerException?> answer) =>
        WhenRunning(() => _group!.Propose(new PublishProposal(this, topic, stamp, count, number, dueMs, answer)));

    public override void PublishOnce(string topic, Action done) => Publish(
        topic,
        PublishStamp.None,
        count: 1,
        World.NextValue(),
        dueMs: 0,
        (result, _) =>
        {
            if (result is not null)
            {
                done();
            }
        });

    /// <summary>The members of the cluster, as this replica of the first group has applied them.</summary>
    public ClusterMembers ClusterMembers =>
        _group?.Machine is RecordingMachine machine ? machine.Members : ClusterMembers.Empty;

    /// <summary>How topics come to be, as this replica of the first group has applied it.</summary>
    public TopicPolicies Policies => _machine!.Policies;

    /// <summary>See <see cref="ReplicaGroup.DesiredMembers"/>.</summary>
    public void Desire(DesiredMembers? members) => _group!.DesiredMembers = members;

    public void Approach(DesiredMembers members) => _group!.Approach(members);

    /// <summary>See <see cref="ReplicaGroup.IsDraining"/>.</summary>
    public void Drain(bool drains) => _group!.IsDraining = drains;

    /// <summary>See <see cref="ReplicaGroup.MayBeHollow"/>.</summary>
    public void LetBeHollow(bool may) => _group!.MayBeHollow = may;

    /// <summary>It has hollow segments.</summary>
    public bool IsHollow => _log is { HollowSegments: > 0 };

    /// <summary>It has given up something, or has nothing that it could.</summary>
    public bool HasGivenUp => IsHollow
        || _log?.SealedSegments.All(segment => segment.IsDamaged || segment.Last > NewestSnapshot) != false;

    /// <summary>What it knows of its followers; the caller looks for the answer.</summary>
    public Task<IReadOnlyList<FollowerProgress>> AskFollowers() => _group!.AskFollowersAsync();

    /// <summary>To whoever is fit.</summary>
    public void HandOver() => _ = _group!.BeginTransferAsync(NodeId.None);

    /// <summary>How far the first group is, by its leader's linearizable read; the caller looks for it.</summary>
    public Task<LogIndex> AskIndex() => _group!.ReadIndexAsync(CancellationToken.None);

    /// <summary>The configuration that it knows has committed.</summary>
    public bool KnowsMembersCommitted => _status!.CommitIndex >= _status.Condition.Configuration.Index;

    /// <summary>Whether its owner's topic holds no more than it keeps; false while the node is down.</summary>
    public bool IsTrimmed => _group?.Machine is RecordingMachine { IsTrimmed: true };

    /// <summary>Proposes a command that is encoded already; one that stores a batch says which.</summary>
    public void Propose(byte[] command, long? number, Action<CommandResult?, BrokerException?> answer) =>
        WhenRunning(() => _group!.Propose(new TopicProposal(this, command, number, answer)));

    public void CountPurge() => World.Figures.Count(Figure.Purge);

    public void NoteRefusal(BrokerException refusal) => Group.History.NoteRefusal(refusal);

    public void Acknowledge(long number)
    {
        var entry = EntryAt(_checkedIndex)!.Value;
        Group.History.Acknowledge(this, _checkedIndex, entry, number);
    }

    /// <summary>An operator gives up what a topic holds, so that logs may be dropped.</summary>
    public override void Purge(string topic) => WhenRunning(() => _group!.Propose(new PurgeProposal(this, topic)));

    /// <summary>The group applies an entry, and has passed all before it.</summary>
    public void NoteApplied(LogIndex index)
    {
        while (_checkedIndex < index)
        {
            _checkedIndex = _checkedIndex.Next();
            var entry = EntryAt(_checkedIndex);
            World.Check(entry is not null, $"node {Id} can read entry {_checkedIndex}, which it applies");
            Group.History.CheckApplied(this, _checkedIndex, entry.Value, Term);
        }
    }

    /// <summary>
    /// The state has been replaced: by that of the snapshot at the log's base, or by one of what the log cannot give.
    /// </summary>
    public void NoteRestored(RecordingMachine machine, ReadOnlySpan<byte> state)
    {
        if (_group is null)
        {
            return;
        }

        var index = LogIndex.None;
        var isNeeded = false;
        foreach (var (at, data, wasNeeded) in _received)
        {
            if (state.SequenceEqual(data))
            {
                index = LogIndex.Max(index, at);
                isNeeded |= wasNeeded;
            }
        }

        World.Check(index > _checkedIndex, $"node {Id} goes over to a later snapshot, which came");
        World.Figures.Count(index == _log!.Base.Index ? Figure.SnapshotInstalled : Figure.SnapshotAdopted);
        _hasAdopted |= index != _log.Base.Index;
        World.Check(
            index == _log.Base.Index || isNeeded,
            $"node {Id} gives up its state at {_checkedIndex} without need");
        Say($"goes on from the snapshot at {index}");
        _checkedIndex = index;
        Group.History.CheckRestored(this, index, machine.StateHash);
    }

    public void Send(NodeId to, PeerMessage message)
    {
        var understood = PeerMessageMapper.FromWire(message, out _);
        World.Check(understood is not null, $"node {Id} sends what its peers understand");
        var raft = understood.GetValueOrDefault();
        Trace(() => $"sends {raft}");
        Group.History.CheckRevealed(this, raft);
        foreach (var configuration in raft.Configurations)
        {
            Group.History.NoteConfiguration(configuration);
        }

        World.Network.Send(new Packet(GroupId, raft, [], message));
    }

    public void SendSnapshot(
        NodeId to, GroupId group, PeerMessage message, ReadOnlyMemory<byte> data, Action<bool> done)
    {
        var life = Life;
        var copy = data.ToArray();
        Trace(() => $"sends snapshot {message.LogIndex}/{message.LogTerm} to {to}");
        World.Network.SendSnapshot(
            Id.Value,
            to.Value,
            answer => ((ReplicaNode)Group.NodeOf(to.Value)).ReceiveSnapshot(message, copy, answer),
            isDone =>
            {
                if (life == Life)
                {
                    WhenRunning(() => done(isDone));
                }
            });
    }

    public TimeSpan ChargeCopy(long bytes) => Machine.ChargeCopy(bytes);

    public void Run(ReplicaGroup group, Action work) => Machine.Disk.Run(this, work);

    public void Expedite(ReplicaGroup group) => Machine.Disk.Expedite(this);

    /// <summary>What this replica has applied, while its process runs; or what the last one had.</summary>
    public TopicStateMachine Topics => _machine!.Topics;

    protected override void OnStart()
    {
        _isPumpScheduled = false;
        _machine = MakeMachine();
        if (!World.Scenario.HasRoles)
        {
            _machine.Topics.AttachPartitionDuties(
                GroupId,
                World.Shards,
                group => ((ReplicaNode)Machine.Replicas[group.Value - 1]).Topics,
                () => Machine.Replicas.ForEach(static each => ((ReplicaNode)each)._group?.LookForDuties()));
        }

        AttachGroups(_machine);
        _group = new ReplicaGroup(
            GroupId,
            Options,
            _log!,
            _machine,
            writer: this,
            sender: this,
            background: this,
            _clock,
            new Random(World.Random.Next()),
            Metrics,
            NullLogger.Instance);
        _group.OnInput(_ => SchedulePump());
        _group.DesiredMembers = World.Scenario.HasMembership ? null : new DesiredMembers(Options.Voters, []);
        _status = _group.Status;
        BeginUpkeep();
        _checkedIndex = _status.AppliedIndex;
        Group.History.CheckRestored(this, _checkedIndex, _group.Machine.StateHash);
        World.Figures.Count(Figure.SnapshotRestored, _checkedIndex == LogIndex.None ? 0 : 1);
        Say($"starts with {_durable.Count} entries, {DurableHardState}");
    }

    private RecordingMachine MakeMachine()
    {
        var machine = new RecordingMachine(Group, this);
        machine.Topics.AttachIndexes(_log!.Indexes.TryReadBody);
        return machine;
    }

    protected override void OnCrash()
    {
        _lastMembers = Members;
        _leastVotersOnDisk = VotersOnDisk();
        _calls.Clear();
        _received.Clear();
        _group = null;
        _status = null;
    }

    protected override void OnTick()
    {
        if (_group!.IsDue)
        {
            Pump();
        }

        LookAfterDisk();
    }

    /// <summary>With and without the write that is under way.</summary>
    private int VotersOnDisk()
    {
        var before = (_log!.Configuration ?? base.Members).Voters.Length;
        return _write?.Configuration is { } written ? Math.Min(before, written.Voters.Length) : before;
    }

    private void ReceiveSnapshot(PeerMessage message, byte[] data, Action<bool> answer) => WhenRunning(() =>
    {
        Trace(() => $"gets  snapshot {message.LogIndex}/{message.LogTerm} of {message.From}");
        _received.Add((new LogIndex(message.LogIndex), data, IsHurt && _status!.Condition.IsApplyBlocked));
        _group!.ReceiveSnapshot(message, data, (isDone, _) => answer(isDone));
    });

    private void SchedulePump()
    {
        if (_isPumpScheduled)
        {
            return;
        }

        _isPumpScheduled = true;
        var life = Life;
        World.Scheduler.After(World.Random.Next(10, 300), () =>
        {
            if (life == Life)
            {
                WhenRunning(() =>
                {
                    _isPumpScheduled = false;
                    Pump();
                });
            }
        });
    }

    private void Pump()
    {
        Machine.Disk.IsLoopAtWork = true;
        Group.History.BeginPump();
        _group!.Pump();
        Machine.Disk.IsLoopAtWork = false;
        var before = _status!;
        _status = _group.Status;
        if (IsLeader)
        {
            // It counts by the members of its log before it has sent or flushed them.
            Group.History.NoteConfiguration(_status.Condition.Configuration);
            CheckMayChangeMembers(before.Condition.Configuration.Index, _status.Condition.Configuration.Index);
        }

        Group.History.EndPump();
        NoteApplied(_status.AppliedIndex);
        NoteCondition(before.Condition, _status.Condition);
        World.Figures.Count(
            Figure.WriteStalled, _status.Condition.IsWriteStalled && !before.Condition.IsWriteStalled ? 1 : 0);
        _calls.Check();
        if (before.Role != _status.Role || before.Term != _status.Term || before.Leader != _status.Leader)
        {
            Say($"is {_status.Role} in term {_status.Term}, leader {_status.Leader}");
            Group.NoteState(this);
        }
    }
    /// <summary>
    /// A leader changes members when an entry of its term has committed (Raft thesis 4.1, with the correction of 2015).
    /// By a recovery the members are the first that it says in its term.
    /// </summary>
    private void CheckMayChangeMembers(LogIndex before, LogIndex now)
    {
        if (now > before && EntryAt(now)?.Term == Term && EntryAt(now.Previous())?.Term == Term)
        {
            World.Check(
                _status!.CommitIndex >= now || EntryAt(_status.CommitIndex)?.Term == Term,
                $"leader {Id} changes members by entry {now}, before any of term {Term} has committed");
        }
    }
}
