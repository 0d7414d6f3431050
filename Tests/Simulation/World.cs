using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using Broker.Domain;

namespace Broker.Tests.Simulation;

/// <summary>
/// One seed: a cluster, a network, clients and faults on virtual time in one thread. First faults come and go for a
/// number of steps; then all heals, and the cluster must make progress, keep its leader, and have lost nothing.
/// </summary>
internal sealed class World
{
    /// <summary>After the last fault: progress within ten election timeouts, by the slowest clock.</summary>
    private const long ProgressWithinUs = 10 * 1_000_000 * 12 / 10;

    /// <summary>Damage is found by the slowest reader, mended, and a lost replica becomes a member anew.</summary>
    public const long HealWithinUs = 30_000_000;

    private const long ReadIntervalMaxUs = 200_000;
    private const int PublisherCount = 4;
    private const long CalmUs = 3_000_000;
    private const long LonelyUs = 2_000_000;
    private const long RestUs = 500_000;
    private const long CalmProposeIntervalMaxUs = 100_000;

    private readonly List<Publisher> _publishers = [];
    private readonly LastEntryExam? _exam;
    private long _lastValue;
    private bool _isCalm;

    public World(int seed, NodeKind kind, TextWriter? liveTrace, int keepTraceLines)
    {
        Random = new Random(seed);
        Scheduler = new Scheduler();
        Trace = new Trace(Scheduler, liveTrace, keepTraceLines);
        Scenario = Scenario.Draw(Random);
        Network = new SimulatedNetwork(this);
        History = new History(this);
        Faults = new Faults(this);
        Nodes = [.. Enumerable.Range(1, Scenario.Nodes).Select(id => MakeNode(kind, id))];
        if (kind == NodeKind.Replica)
        {
            _exam = new LastEntryExam(this);
            _publishers.AddRange(Enumerable.Range(1, PublisherCount).Select(id => new Publisher(this, id)));
        }

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

    public History History { get; }

    public Figures Figures { get; } = new();

    public Faults Faults { get; }

    public IReadOnlyList<SimulatedNode> Nodes { get; } = [];

    public bool ClientsAreDone { get; private set; }

    /// <summary>Nobody sends anything for a while, so that all logs become equal.</summary>
    public bool ClientsRest { get; set; }

    public long ProposeIntervalMaxUs => _isCalm ? CalmProposeIntervalMaxUs : Scenario.ProposeIntervalMaxUs;

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

    public SimulatedNode NodeOf(int id) => Nodes[id - 1];

    public long NextValue() => ++_lastValue;

    /// <summary>A node's role, term or leader has changed.</summary>
    public void NoteState(SimulatedNode node)
    {
        if (node.IsLeader)
        {
            History.CheckLeader(node);
            Faults.OnLeader(node);
        }
    }

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
            Figures.Count(Figure.Elections, History.Elections);
            Figures.Count(Figure.EntriesCommitted, History.Committed);
            Figures.Count(Figure.RecordsAcknowledged, History.Acknowledged);
        }
    }

    private void RunToEnd(long steps)
    {
        foreach (var node in Nodes)
        {
            Scheduler.After(Random.Next(50_000), node.Start);
        }

        ScheduleClient();
        SchedulePurge();
        ScheduleRead();
        if (Scenario.HasCrowd && _publishers.Count > 0)
        {
            _publishers.Clear();
            new Crowd(this).Begin();
        }

        _publishers.ForEach(publisher => publisher.Begin());
        Faults.Begin();
        while (Scheduler.Steps < steps)
        {
            Step();
        }

        Faults.End();
        if (Trace.IsOn)
        {
            Trace.Write("all", "faults are over");
        }

        RunUntilProgress();
        RunUntil(
            () => Nodes.All(node => !node.IsHurt && node.Members.IsVoter(node.Id)),
            HealWithinUs,
            "every damage heals and all are members after the last fault");
        RunCalm();
        _exam?.Run();
        ClientsAreDone = true;
        RunUntil(() => Nodes.All(node => node.AppliedIndex == Nodes[0].LastIndex), 5_000_000, "all apply everything");
        History.CheckNothingLost();
    }

    private SimulatedNode MakeNode(NodeKind kind, int id) =>
        kind == NodeKind.Core ? new CoreNode(this, id) : new ReplicaNode(this, id);

    private void Step() => Check(Scheduler.TryStep(), "something is always scheduled");

    private void ScheduleClient() => Scheduler.After(Random.NextInt64(ProposeIntervalMaxUs), () =>
    {
        // A client may also hold on to a leader that was replaced and does not know it.
        var leaders = Nodes.Where(node => node.IsLeader).ToArray();
        if (leaders.Length > 0 && !ClientsAreDone && !ClientsRest)
        {
            var count = _isCalm || Random.Next(10) > 0 ? 1 : Random.Next(1, 40);
            leaders[Random.Next(leaders.Length)].Propose(count);
        }

        ScheduleClient();
    });

    /// <summary>All topics at once: only what no topic holds any more is dropped from the logs.</summary>
    private void SchedulePurge() => Scheduler.After(Random.NextInt64(Scenario.PurgeIntervalMaxUs), () =>
    {
        if (!ClientsAreDone && !ClientsRest && Nodes.FirstOrDefault(node => node.IsLeader) is { } leader)
        {
            leader.Purge("load");
            leader.Purge(Crowd.Topic);
            _publishers.ForEach(publisher => leader.Purge(publisher.Topic));
        }

        SchedulePurge();
    });

    /// <summary>Of whoever believes to lead, maybe since long before.</summary>
    private void ScheduleRead() => Scheduler.After(Random.NextInt64(ReadIntervalMaxUs), () =>
    {
        var leaders = Nodes.Where(node => node.IsLeader).ToArray();
        if (leaders.Length > 0)
        {
            leaders[Random.Next(leaders.Length)].Read();
        }

        ScheduleRead();
    });

    public void RunUntilProgress()
    {
        _isCalm = true;
        var values = _lastValue;
        var index = LogIndex.None;
        History.OnAcknowledged = (at, number) => index = index.Value == 0 && number > values ? at : index;
        RunUntil(
            () => index.Value > 0 && Nodes.All(node => node.AppliedIndex >= index),
            ProgressWithinUs,
            "progress within ten election timeouts after the last fault");
    }

    private void RunCalm()
    {
        // A follower that was told too late may have a campaign under way; from then on nothing may change.
        RunFor(2_000_000);
        var elections = History.Elections;
        RunFor(CalmUs);
        IsolateOneFollower();
        Check(_publishers.TrueForAll(publisher => publisher.Stored > 0), "every publisher has published");

        // A leader whose snapshot at the base was damaged hands over when a follower needs it.
        var changes = Faults.HaveHurt ? 1 : 0;
        Check(History.Elections <= elections + changes, "a healthy cluster keeps its leader");
        Check(Nodes.Select(node => node.Term).Distinct().Count() == 1, "a healthy cluster agrees on its term");
    }

    /// <summary>
    /// A replica that loses contact alone cannot depose a leader (Raft thesis 4.2.3, 9.6), not even when its log is as
    /// good as any: nobody publishes meanwhile.
    /// </summary>
    private void IsolateOneFollower()
    {
        var followers = Nodes.Where(node => !node.IsLeader).ToArray();
        if (Nodes.Count == 2 || followers.Length == Nodes.Count)
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
            Network.Cut(Nodes.First(node => node.IsLeader).Id.Value, follower);
        }

        RunFor(LonelyUs);
        Network.Mend();
        RunFor(RestUs);
        ClientsRest = false;
        RunFor(RestUs);
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
