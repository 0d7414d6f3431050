using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using Broker.Domain;
using Broker.Topics;

namespace Broker.Tests.Simulation;

/// <summary>
/// One seed: a cluster, a network, clients and faults on virtual time in one thread. First faults come and go for a
/// number of steps; then all heals, and the cluster must make progress, keep its leader, and have lost nothing.
/// </summary>
internal sealed class World
{
    /// <summary>Damage is found by the slowest reader, mended, and a lost replica becomes a member anew.</summary>
    public const long HealWithinUs = 30_000_000;

    /// <summary>
    /// The same where messages overtake one another: a follower that has lost its log may get it back entry by entry,
    /// as each late refusal has all that is on its way sent again.
    /// </summary>
    private const long HealWithoutOrderWithinUs = 4 * HealWithinUs;

    /// <summary>What is hollow comes back a small segment at a time, each by a question and its answer.</summary>
    private const long FillWithinUs = 4 * HealWithinUs;

    /// <summary>After the last fault: progress within ten election timeouts, by the slowest clock.</summary>
    private const long ProgressWithinUs = 10 * 1_000_000 * 12 / 10;

    /// <summary>
    /// Who is so many entries behind takes longer to apply all: it gets them from the leader's disk, a few at a time.
    /// </summary>
    private const long FarBehindEntries = 1_000;

    /// <summary>And for each of those, where they are very many: a few come with each question and answer.</summary>
    private const long CatchUpUsPerEntry = 3_000;

    private const long CalmUs = 3_000_000;

    /// <summary>So long faults last at least where silent members are evicted.</summary>
    private const long EvictionsUs = 25_000_000;

    /// <summary>How long a group may stand still when a disk breaks, by the slowest clock.</summary>
    private const long StandstillUs = 3_000_000 * 12 / 10;

    /// <summary>A leader looks once a second.</summary>
    private const long TrimmedWithinUs = 5_000_000;

    /// <summary>Leases run out, waits end, and what was published in the meantime is delivered.</summary>
    private const long GroupsDoneWithinUs = 20_000_000;

    /// <summary>And for each entry of a group's log: what was published may be its backlog.</summary>
    private const long GroupDoneUsPerEntry = 2_000;

    private const long MomentWithinUs = 10_000_000;

    private const long BrokenDiskUs = 12_000_000;

    /// <summary>What has been allocated is written to first.</summary>
    private const long AllFullUs = 60_000_000;

    private const long LonelyUs = 2_000_000;
    private const long RestUs = 500_000;
    private const long CalmProposeIntervalMaxUs = 100_000;

    private readonly LastEntryExam? _exam;
    private readonly PartitionOwner? _partitions;
    private readonly List<SimulatedMachine> _everyMachine = [];
    private SimulatedMachine[]? _machines;
    private long _lastValue;

    public World(int seed, NodeKind kind, TextWriter? liveTrace, int keepTraceLines)
    {
        Random = new Random(seed);
        Scheduler = new Scheduler();
        Trace = new Trace(Scheduler, liveTrace, keepTraceLines);
        Scenario = Scenario.Draw(Random);
        if (kind == NodeKind.Replica && Scenario.Nodes > 2)
        {
            // One seed in three.
            var membership = new Random(seed ^ 0x6D656D62);
            Scenario = Scenario.WithMembership(membership, Math.Max(0, membership.Next(9) - 5));
        }

        // Every second seed of each parity: by default the kinds take turns.
        var hasConsumers = kind == NodeKind.Replica && seed / 2 % 2 == 0;
        Scenario = Scenario with { HasConsumers = hasConsumers };
        if (kind == NodeKind.Replica)
        {
            Scenario = Scenario.WithRoles(new Random(seed ^ 0x726F6C65));
            Scenario = Scenario.WithPlaces(new Random(seed ^ 0x706C6163));
            Scenario = Scenario.WithTransfers(new Random(seed ^ 0x636F7079));
        }

        Network = new SimulatedNetwork(this, seed);
        Faults = new Faults(this);
        for (var id = 1; id <= Scenario.Nodes; id++)
        {
            _everyMachine.Add(new SimulatedMachine(
                this, id, Scenario.HasRoles ? Scenario.Roles[id - 1] : NodeRoles.Both));
        }

        var groups = kind == NodeKind.Core ? 1 : Scenario.Groups;
        Shards = new ShardMap(groups);
        Groups = [.. Enumerable.Range(1, groups).Select(id => new SimulatedGroup(this, kind, id))];
        _partitions = kind == NodeKind.Replica && !Scenario.HasRoles ? new PartitionOwner(this) : null;
        ConsumerGroup = Scenario.HasConsumers ? new GroupOperator(this) : null;
        Membership = Scenario.HasMembership ? new SimulatedMembership(this, seed) : null;
        _exam = kind == NodeKind.Replica ? new LastEntryExam(this) : null;
        if (Trace.IsOn)
        {
            Trace.Write("seed", $"{seed}: {Scenario}");
        }
    }

    public Random Random { get; }

    public Scheduler Scheduler { get; }

    public Trace Trace { get; }

    public Scenario Scenario { get; }

    public SimulatedNetwork Network { get; }

    public Figures Figures { get; } = new();

    public Faults Faults { get; }

    /// <summary>All that were not removed, by number.</summary>
    public IReadOnlyList<SimulatedMachine> Machines =>
        _machines ??= [.. _everyMachine.Where(static each => !each.IsGone)];

    /// <summary>Votes of the group that has fewest, when all is well.</summary>
    public int LeastVoters => Groups.Min(VotersIn);

    /// <summary>Null: the members are always the same.</summary>
    public SimulatedMembership? Membership { get; }

    /// <summary>Null: the cluster has no consumer group.</summary>
    public GroupOperator? ConsumerGroup { get; }

    public IReadOnlyList<SimulatedGroup> Groups { get; } = [];

    /// <summary>Which group has which partition of a topic.</summary>
    public ShardMap Shards { get; }

    /// <summary>The faults are over.</summary>
    public bool IsCalm { get; private set; }

    public bool ClientsAreDone { get; private set; }

    /// <summary>Nobody sends anything for a while, so that all logs become equal.</summary>
    public bool ClientsRest { get; set; }

    private IEnumerable<SimulatedNode> Replicas => Groups.SelectMany(static group => group.Nodes);

    private int Elections => Groups.Sum(static group => group.History.Elections);

    public long ProposeIntervalMaxUs => IsCalm ? CalmProposeIntervalMaxUs : Scenario.ProposeIntervalMaxUs;

    public static void Check([DoesNotReturnIf(false)] bool holds, string what)
    {
        if (!holds)
        {
            throw new SimulationException(what);
        }
    }

    public static void Check(
        [DoesNotReturnIf(false)] bool holds,
        [InterpolatedStringHandlerArgument(nameof(holds))] ref CheckMessage what)
    {
        if (!holds)
        {
            throw new SimulationException(what.ToText());
        }
    }

    public SimulatedMachine MachineOf(int id) => _everyMachine[id - 1];

    /// <summary>How many nodes vote in a group when nobody is on the way in or out.</summary>
    public int VotersIn(SimulatedGroup group) => Machines.Count(machine => machine.VotesIn(group.Id));

    /// <summary>A group that has no learners when all is well.</summary>
    public SimulatedGroup AnyGroupOfVoters() => Scenario.HasRoles
        ? Groups[Random.Next(1, Groups.Count)]
        : Groups[Random.Next(Groups.Count)];

    /// <summary>A node has been taken in: it begins with a new disk, under the number that it was given.</summary>
    public void AddMachine(int id, NodeRoles roles)
    {
        Check(id == _everyMachine.Count + 1, $"node {id} joins, and {_everyMachine.Count} was the last number given");
        var machine = new SimulatedMachine(this, id, roles);
        _everyMachine.Add(machine);
        _machines = null;
        foreach (var group in Groups)
        {
            group.AddNode(machine);
        }

        Membership!.Drive(machine);
        Scheduler.After(100_000, machine.Start);
    }

    /// <summary>A node was removed, and has heard so: it serves nothing any more.</summary>
    public void RemoveMachine(int id)
    {
        var machine = MachineOf(id);
        machine.Resume();
        machine.Crash();
        machine.IsGone = true;
        _machines = null;
        foreach (var group in Groups)
        {
            group.ForgetNodes();
        }
    }

    public SimulatedGroup GroupOf(GroupId id) => Groups[id.Value - 1];

    public long NextValue() => ++_lastValue;

    /// <summary>Runs the seed to its end; throws what went wrong.</summary>
    public void Run(long steps)
    {
        try
        {
            RunToEnd(steps);
        }
        finally
        {
            Figures.Count(Figure.Steps, Scheduler.Steps);
            Figures.Count(Figure.VirtualSeconds, Scheduler.NowUs / 1_000_000);
            Figures.Count(Figure.Groups, Groups.Count);
            Figures.Count(Figure.Elections, Elections);
            Figures.Count(Figure.EntriesCommitted, Groups.Sum(static group => (long)group.History.Committed));
            Figures.Count(Figure.RecordsAcknowledged, Groups.Sum(static group => (long)group.History.Acknowledged));
        }
    }

    private void RunToEnd(long steps)
    {
        foreach (var machine in Machines)
        {
            Scheduler.After(Random.Next(50_000), machine.Start);
        }

        foreach (var group in Groups)
        {
            group.Begin();
        }

        _partitions?.Begin();
        ConsumerGroup?.Begin();
        Membership?.Begin();
        Faults.Begin();
        while (Scheduler.Steps < steps || (Scenario.EvictAfter is not null && Scheduler.NowUs < EvictionsUs))
        {
            Step();
        }

        Faults.End();
        if (Trace.IsOn)
        {
            Trace.Write("all", "faults are over");
        }

        IsCalm = true;
        RunUntilProgress();
        RunUntilHealed();
        RunCalm();
        if (Membership is { } membership)
        {
            membership.CheckPlaces();
            RunUntil(() => membership.IsGivenUp, HealWithinUs, "learners give up what voters keep");
            Check(membership.IsDrained, "a node that drains leads nothing");
            membership.EndDrain();
            RunUntil(() => !membership.IsAnyDraining, HealWithinUs, "a node drains no more when it is told so");
            membership.EndPlacing();
            RunUntil(
                () => membership.IsPlacingOver && Replicas.All(static replica => replica.IsWhatItShouldBe),
                FillUs,
                "all vote in every shard when they are told so");
        }

        RunUntil(() => ConsumerGroup?.IsSettled != false, ProgressWithinUs, "the group is there and delivers");
        ClientsRest = true;
        RunUntilGroupsAreDone();
        RunUntilTrimmed();
        ClientsRest = false;
        _exam?.Run();
        if (Groups[0].Nodes[0] is ReplicaNode)
        {
            BreakOneDisk();
            FillAllDisks();
        }

        if (_exam is not null)
        {
            new AdoptionExam(this).Run();
            new MajorityExam(this).Run();
            new ReopeningExam(this).Run();
            new LostTwiceExam(this).Run();
        }

        ClientsAreDone = true;
        RunUntil(
            () => Groups.All(static group =>
                group.Nodes.All(node => node.AppliedIndex == group.Nodes[0].LastIndex)),
            5_000_000,
            "all apply everything");
        foreach (var group in Groups)
        {
            group.History.CheckNothingLost();
            group.CheckPolicies();
            foreach (var node in group.Nodes)
            {
                node.ReadTopics();
            }
        }
    }

    /// <summary>
    /// What only time could mend, as nobody has it any more and nobody wants it, its operator mends: the replica gets
    /// an empty disk.
    /// </summary>
    private void RunUntilHealed()
    {
        for (var replaced = 0; ; replaced++)
        {
            var untilUs = Scheduler.NowUs + Math.Max(HealUs, FillUs);
            while (!IsHealed && Scheduler.NowUs < untilUs)
            {
                Step();
            }

            if (IsHealed)
            {
                return;
            }

            var pastMending = Replicas.OfType<ReplicaNode>().FirstOrDefault(static replica => replica.IsPastMending);
            Check(
                pastMending is not null && replaced < Machines.Count,
                "every damage heals and all are members after the last fault");
            Figures.Count(Figure.SegmentPastMending);
            pastMending.LoseAll();
        }
    }

    private bool IsHealed => Membership is not { IsSettled: false } and not { IsDrained: false }
        && Replicas.All(static replica => !replica.IsHurt && replica.IsWhatItShouldBe);

    /// <summary>See <see cref="LastEntryExam.IsEven"/>.</summary>
    /// <param name="group">Whose logs they are.</param>
    /// <param name="also">What has to come about in that moment.</param>
    public void RunUntilEven(SimulatedGroup group, Func<bool>? also = null) => RunUntil(
        () => LastEntryExam.IsEven(group) && also?.Invoke() != false, MomentUs, "all logs are equal for a moment");

    /// <summary>In which all logs are equal once, as things stand now.</summary>
    private long MomentUs => IsAnyFarBehind ? FillWithinUs : MomentWithinUs;

    private long HealUs => Scenario.HasStreams ? HealWithinUs : HealWithoutOrderWithinUs;

    /// <summary>As things stand now.</summary>
    private long FillUs => IsAnyFarBehind || Replicas.OfType<ReplicaNode>().Any(static replica => replica.IsHollow)
        ? FillWithinUs
        : HealWithinUs;

    private bool IsAnyFarBehind => MostBehind > FarBehindEntries;

    private long MostBehind => Groups.Max(static group =>
        group.Nodes.Max(static node => node.LastIndex.Value) - group.Nodes.Min(static node => node.AppliedIndex.Value));

    private void Step() => Check(Scheduler.TryStep(), "something is always scheduled");

    /// <summary>
    /// Who is on the way in or out takes its time, and who is behind may not know that it votes no more: it gets what
    /// it lacks as a learner does, held back.
    /// </summary>
    private bool AllApply(SimulatedGroup group, LogIndex index)
    {
        var members = group.Nodes.Select(static node => node.Members).MaxBy(static each => each.Index.Value)!;
        return group.Nodes.All(node => node.AppliedIndex >= index
            || !node.Members.IsVoter(node.Id) || !members.IsVoter(node.Id) || Membership?.IsOut(node.Id) == true);
    }

    /// <summary>Every group acknowledges something that was published from now on, and then all apply it.</summary>
    public void RunUntilProgress() =>
        RunUntilProgress(ProgressWithinUs, "progress within ten election timeouts after the last fault");

    public void RunUntilProgress(long withinUs, string what)
    {
        var values = _lastValue;
        var deadlineUs = Scheduler.NowUs + withinUs;
        if (!Scenario.HasStreams || IsAnyFarBehind)
        {
            deadlineUs += Math.Max(HealUs, MostBehind * CatchUpUsPerEntry);
        }

        var indexes = new Dictionary<SimulatedGroup, LogIndex>();
        foreach (var group in Groups)
        {
            group.History.OnAcknowledged = (at, number) =>
            {
                if (number > values)
                {
                    indexes.TryAdd(group, at);
                }
            };
        }

        RunUntil(() => Groups.All(group => indexes.ContainsKey(group)), withinUs, what);
        RunUntil(
            () => Groups.All(group => AllApply(group, indexes[group])),
            deadlineUs - Scheduler.NowUs,
            what);
    }

    /// <summary>
    /// No record stays behind, whatever its consumers, leaders and seeks were. From then on nobody consumes: what the
    /// exams give up would be missed.
    /// </summary>
    private void RunUntilGroupsAreDone()
    {
        if (ConsumerGroup is null)
        {
            return;
        }

        RunUntil(
            () => Groups.All(static group => group.Consumers!.IsDone),
            GroupsDoneWithinUs + ClocksApartUs
                + (GroupDoneUsPerEntry * Groups.Max(static group => group.History.Committed)),
            "the consumer group finishes everything");
        ConsumerGroup.End();
        foreach (var group in Groups)
        {
            foreach (var node in group.Nodes.OfType<ReplicaNode>())
            {
                group.GroupHistory!.CheckAllWereDue(node.Groups!.Topics);
            }

            group.GroupHistory!.IsOver = true;
            group.Consumers!.End();
        }
    }

    /// <summary>
    /// By this the slowest clock may be behind the fastest, by which a record was delayed, and how much slower it runs.
    /// </summary>
    private long ClocksApartUs => (long)(Scheduler.NowUs * 3 * Scenario.ClockSkew);

    private void RunCalm()
    {
        // A follower that was told too late may have a campaign under way; from then on nothing may change.
        RunFor(2_000_000);
        var elections = Elections;
        RunFor(CalmUs);
        IsolateOneFollower();
        Check(Groups.All(static group => group.HasStored), "every publisher has published");

        // A leader whose snapshot at the base was damaged hands over when a follower needs it.
        var changes = Faults.HaveHurt ? Groups.Count : 0;
        Check(Elections <= elections + changes, "a healthy cluster keeps its leader");
        Check(
            Groups.All(static group => group.Nodes.Select(static node => node.Term).Distinct().Count() == 1),
            "a healthy cluster agrees on its term");
    }

    /// <summary>
    /// While clients rest: what a topic does not keep goes, on every replica. Then leaders write nothing either.
    /// </summary>
    public void RunUntilTrimmed() => RunUntil(
        () => Replicas.All(static replica => replica is not ReplicaNode { IsTrimmed: false })
            && _partitions?.IsSettled != false
            && Groups.All(static group => group.Consumers?.HasForgotten != false),
        TrimmedWithinUs,
        "what a topic does not keep goes");

    /// <summary>
    /// A replica that loses contact alone cannot depose a leader (Raft thesis 4.2.3, 9.6), not even when its log is as
    /// good as any: nobody publishes meanwhile. Only one that leads no other group can be cut off so.
    /// </summary>
    private void IsolateOneFollower()
    {
        var followers = Machines.Where(static machine => !machine.LeadsAny).ToArray();
        var leaders = Machines.Where(static machine => machine.LeadsAny).ToArray();
        if (LeastVoters < 3 || followers.Length == 0 || leaders.Length == 0)
        {
            return;
        }

        ClientsRest = true;
        RunFor(RestUs);
        var follower = followers[Random.Next(followers.Length)].Id.Value;
        if (Random.Next(2) == 0)
        {
            Network.Isolate(follower);
        }
        else
        {
            Network.Cut(leaders[Random.Next(leaders.Length)].Id.Value, follower);
        }

        RunFor(LonelyUs);
        Network.Mend();
        RunFor(RestUs);
        ClientsRest = false;
        RunFor(RestUs);
    }

    /// <summary>
    /// The disk of one node breaks, for the files of one group or for all, and nothing else is wrong: no group may
    /// stand still for long, and a group whose files are well does not wait for those of others.
    /// </summary>
    private void BreakOneDisk()
    {
        if (LeastVoters < 3)
        {
            // Neither of the two can do without the other, and one alone not without itself.
            return;
        }

        var (machine, broken) = Faults.BreakOneDisk();
        var others = machine.Replicas.Where(replica => !broken.Contains(replica.GroupId)).ToArray();
        var lastUs = Groups.ToDictionary(static group => group, _ => Scheduler.NowUs);
        foreach (var group in Groups)
        {
            group.History.OnAcknowledged = (_, _) => lastUs[group] = Scheduler.NowUs;
        }

        for (var endUs = Scheduler.NowUs + BrokenDiskUs; Scheduler.NowUs < endUs;)
        {
            Step();
            foreach (var group in Groups)
            {
                Check(
                    Scheduler.NowUs - lastUs[group] < StandstillUs,
                    $"group {group.Id} stands still although only one disk is broken");
            }

            foreach (var other in others)
            {
                Check(!other.IsStalled, $"node {machine.Id} stalls group {other.GroupId}, whose files are well");
            }
        }

        Mend();
    }

    /// <summary>
    /// All disks are full: who publishes hears that, and not that nobody leads; and leadership, which nobody could use
    /// better, stays.
    /// </summary>
    private void FillAllDisks()
    {
        Faults.FillAllDisks();
        RunUntilNothingIsStored();
        var elections = Elections;
        RunUntilToldOfFullDisks("clients hear of full disks");
        RunFor(StandstillUs);
        RunUntilToldOfFullDisks("clients go on hearing of full disks");

        Check(Elections == elections, "leadership stays where no disk has space");
        Mend();
    }

    /// <summary>Some disks have more allocated space than others, and their nodes go on for longer.</summary>
    private void RunUntilNothingIsStored()
    {
        var lastUs = Groups.ToDictionary(static group => group, _ => Scheduler.NowUs);
        foreach (var group in Groups)
        {
            group.History.OnAcknowledged = (_, _) => lastUs[group] = Scheduler.NowUs;
        }

        RunUntil(
            () => lastUs.Values.All(last => Scheduler.NowUs - last > StandstillUs),
            AllFullUs,
            "full disks take nothing any more");
    }

    /// <summary>Clients of every group hear it from now on, whatever they have heard before.</summary>
    private void RunUntilToldOfFullDisks(string what)
    {
        var told = Groups.Select(static group => group.History.ToldOfFullDisk).ToArray();
        RunUntil(
            () => Groups.Zip(told).All(static pair => pair.First.History.ToldOfFullDisk > pair.Second),
            StandstillUs,
            what);
    }

    private void Mend()
    {
        Faults.HealDisks();
        RunUntilProgress(ProgressWithinUs, "progress within ten election timeouts after the disk is mended");
    }

    public void RunFor(long lengthUs)
    {
        for (var endUs = Scheduler.NowUs + lengthUs; Scheduler.NowUs < endUs;)
        {
            Step();
        }
    }

    public void RunUntil(Func<bool> condition, long withinUs, string what)
    {
        for (var deadlineUs = Scheduler.NowUs + withinUs; !condition();)
        {
            Step();
            Check(Scheduler.NowUs < deadlineUs, what);
        }
    }
}
