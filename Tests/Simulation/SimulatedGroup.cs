using Broker.Domain;

namespace Broker.Tests.Simulation;

/// <summary>One Raft group: a replica on each machine, its clients, and what became of it.</summary>
internal sealed class SimulatedGroup
{
    private const long ReadIntervalMaxUs = 200_000;
    private const int PublisherCount = 4;

    private readonly NodeKind _kind;
    private readonly SortedDictionary<int, SimulatedNode> _everyNode = [];
    private readonly List<Publisher> _publishers = [];
    private SimulatedNode[]? _nodes;
    private readonly Crowd? _crowd;
    private readonly TopicOwner? _owner;
    private readonly AtomicOwner? _pairs;
    private readonly PolicyOwner? _policies;
    private readonly KeyOwner? _keys;
    private bool _hasOld;

    public SimulatedGroup(World world, NodeKind kind, int id)
    {
        World = world;
        Id = new GroupId(id);
        History = new History(this);
        _kind = kind;
        foreach (var machine in world.Machines)
        {
            AddNode(machine);
        }

        if (world.Scenario.HasConsumers)
        {
            GroupHistory = new GroupHistory(this);
            Consumers = new GroupClient(this);
        }

        _owner = kind == NodeKind.Replica ? new TopicOwner(this) : null;
        _pairs = kind == NodeKind.Replica ? new AtomicOwner(this) : null;
        _policies = kind == NodeKind.Replica && id == 1 ? new PolicyOwner(this) : null;
        _keys = kind == NodeKind.Replica ? new KeyOwner(this) : null;
        if (kind == NodeKind.Replica && world.Scenario.HasCrowd)
        {
            _crowd = new Crowd(this);
        }
        else if (kind == NodeKind.Replica)
        {
            _publishers.AddRange(Enumerable.Range(1, PublisherCount).Select(number => new Publisher(this, number)));
        }
    }

    public World World { get; }

    public GroupId Id { get; }

    public History History { get; }

    /// <summary>The largest entry that was ever in a log of it, as it counts for learners.</summary>
    public long LargestEntryBytes { get; set; }

    /// <summary>What became of records in the consumer group; null: there is none.</summary>
    public GroupHistory? GroupHistory { get; }

    /// <summary>The consumer group; null: there is none.</summary>
    public GroupClient? Consumers { get; }

    /// <summary>Its replicas, by machine, but those that were removed.</summary>
    public IReadOnlyList<SimulatedNode> Nodes =>
        _nodes ??= [.. _everyNode.Values.Where(static node => !node.Machine.IsGone)];

    public bool HasStored => _publishers.TrueForAll(static publisher => publisher.Stored > 0);

    private Random Random => World.Random;

    /// <summary>Also of one that was removed: what was on its disk is there.</summary>
    public SimulatedNode NodeOf(int id) => _everyNode[id];

    /// <summary>Null: the node never has a replica of the group.</summary>
    public SimulatedNode? FindNode(int id) => _everyNode.GetValueOrDefault(id);

    /// <summary>Those that are to vote.</summary>
    public SimulatedNode[] Voters() => [.. Nodes.Where(node => node.Machine.VotesIn(Id))];

    public void AddNode(SimulatedMachine machine)
    {
        // Where only some vote, others receive the log all the same.
        if (Id.Value > 1 && !machine.MayVoteIn(Id))
        {
            return;
        }

        var node = MakeNode(_kind, machine);
        _everyNode.Add(machine.Id.Value, node);
        machine.Replicas.Add(node);
        _nodes = null;
    }

    public void ForgetNodes() => _nodes = null;

    /// <summary>A replica's role, term or leader has changed.</summary>
    public void NoteState(SimulatedNode node)
    {
        if (node.IsLeader)
        {
            History.CheckLeader(node);
            World.Faults.OnLeader(node);
        }
    }

    public void Begin()
    {
        ScheduleClient();
        SchedulePurge();
        ScheduleRead();
        _crowd?.Begin();
        _owner?.Begin();
        _pairs?.Begin();
        _policies?.Begin();
        _keys?.Begin();
        Consumers?.Begin();
        _publishers.ForEach(static publisher => publisher.Begin());
    }

    /// <summary>At the end, when all have applied everything.</summary>
    public void CheckPolicies() => _policies?.CheckEverywhere();

    /// <summary>Nothing that any topic holds is kept, so that the log's beginning is needed by none.</summary>
    public static void PurgeAll(ReplicaNode leader)
    {
        foreach (var place in leader.Topics.ListPlaces())
        {
            leader.Purge(place.Name);
        }
    }

    private SimulatedNode MakeNode(NodeKind kind, SimulatedMachine machine) =>
        kind == NodeKind.Core ? new CoreNode(this, machine) : new ReplicaNode(this, machine);

    private void ScheduleClient() => World.Scheduler.After(Random.NextInt64(World.ProposeIntervalMaxUs), () =>
    {
        // A client may also hold on to a leader that was replaced and does not know it.
        var leaders = Nodes.Where(node => node.IsLeader).ToArray();
        if (leaders.Length > 0 && !World.ClientsAreDone && !World.ClientsRest)
        {
            var count = World.IsCalm || Random.Next(10) > 0 ? 1 : Random.Next(1, 40);
            leaders[Random.Next(leaders.Length)].Propose(count);
        }

        ScheduleClient();
    });

    /// <summary>
    /// All topics at once, or all but one: only what no topic holds any more is dropped from the logs.
    /// </summary>
    private void SchedulePurge() => World.Scheduler.After(Random.NextInt64(World.Scenario.PurgeIntervalMaxUs), () =>
    {
        if (!World.ClientsAreDone && !World.ClientsRest && Nodes.FirstOrDefault(node => node.IsLeader) is { } leader)
        {
            leader.Purge("load");
            leader.Purge(Crowd.Topic);
            leader.Purge(TopicOwner.Topic);
            leader.Purge(AtomicOwner.Left);
            leader.Purge(AtomicOwner.Right);
            if (Consumers is not null)
            {
                leader.Purge(GroupOperator.DeadLetters);
            }

            if (World.Scenario.Keeps == Scenario.KeptTopic.Old && !_hasOld)
            {
                leader.PublishOnce("old", () => _hasOld = true);
            }

            _publishers.Skip(World.Scenario.Keeps == Scenario.KeptTopic.One ? 1 : 0).ToList()
                .ForEach(publisher => leader.Purge(publisher.Topic));
        }

        SchedulePurge();
    });

    /// <summary>Of whoever believes to lead, maybe since long before.</summary>
    private void ScheduleRead() => World.Scheduler.After(Random.NextInt64(ReadIntervalMaxUs), () =>
    {
        var leaders = Nodes.Where(node => node.IsLeader).ToArray();
        if (leaders.Length > 0)
        {
            var leader = leaders[Random.Next(leaders.Length)];
            leader.Read();
            if (leader is ReplicaNode asked)
            {
                ((ReplicaNode)Nodes[Random.Next(Nodes.Count)]).ReadByWordOf(asked);
            }
        }

        Nodes[Random.Next(Nodes.Count)].ReadTopic();

        ScheduleRead();
    });
}
