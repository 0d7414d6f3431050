using System.Buffers;
using Broker.Cluster;
using Broker.ClusterState;
using Broker.Consensus;
using Broker.Domain;
using Broker.Replication;

namespace Broker.Tests.Simulation;

/// <summary>
/// Nodes that join and leave by request, are evicted when they are silent for long and come back, and drain. The
/// members are replicated in the first group; each machine brings the groups that it leads to what follows from them
/// (the real MembershipPlan and EvictionWatch), as MembershipDriver does in the real node.
/// </summary>
internal sealed class SimulatedMembership(World world, int seed)
{
    private const long LookMinUs = 100_000;
    private const long LookMaxUs = 500_000;
    private const long WishIntervalMaxUs = 700_000;
    private const long AnswerWithinUs = 2_000_000;

    /// <summary>A node hears late that it was removed.</summary>
    private const long WordMaxUs = 1_500_000;

    private const long AwayMinUs = 2_000_000;
    private const long AwayMaxUs = 6_000_000;
    private const int LeastMembers = 3;

    // Beside the world's: seeds without it are what they were.
    private readonly Random _random = new(seed);

    /// <summary>Every number that a node ever had, and those of nodes that left.</summary>
    private readonly HashSet<int> _given = [.. Founders(world).Select(static founder => founder.Value)];
    private readonly HashSet<int> _gone = [];
    private ClusterMembers _newest = ClusterMembers.Empty;
    private LogIndex _newestIndex;
    private bool _isDrainOver;
    private long _awayUntilUs;
    private int _joinsLeft = world.Scenario.Joiners;

    /// <summary>Beside the other: what joiners are for.</summary>
    private readonly Random _roles = new(seed ^ 0x726F6C65);

    /// <summary>Beside the other: how many are to vote in a shard.</summary>
    private readonly Random _places = new(seed ^ 0x706C6163);
    private bool _isPlacingOver;

    /// <summary>Beside the other: whether those alone keep what entries say.</summary>
    private readonly Random _records = new(seed ^ 0x7265636F);

    /// <summary>Nobody is on the way in or out, as far as any replica has applied, and who is to vote does.</summary>
    public bool IsSettled => _newest is { IsKnown: true, Changing: null } && _newest.Nodes.Count == world.Machines.Count
        && !(world.IsCalm && world.Scenario.Places && !_isPlacingOver && _newest.ShardVoters == 0)
        && PlacementPlan.Next(_newest, Shards) is null
        && world.Groups.All(group => group.Nodes.All(
            node => node.Members.Voters.Select(static voter => voter.Value).SequenceEqual(
                _newest.Nodes.Values.Where(each => Votes(each, group.Id)).Select(static each => each.Id.Value))));

    /// <summary>Who drains leads nothing, unless all that vote with it drain: others may have left since.</summary>
    public bool IsDrained => world.Groups.All(group => group.Nodes.All(
        node => !node.IsLeader || !Drains(node.Id) || node.Members.Voters.All(Drains)));

    public bool IsAnyDraining => _newest.Nodes.Values.Any(static member => member.IsDraining);

    private static NodeId[] Founders(World world) =>
        [.. Enumerable.Range(1, world.Scenario.Nodes).Select(static id => new NodeId(id))];

    private int Shards => world.Groups.Count - 1;

    private bool Drains(NodeId node) => _newest.Nodes.TryGetValue(node.Value, out var member) && member.IsDraining;

    private bool Votes(ClusterMember member, GroupId group) =>
        member.Roles.VoteIn(new GroupId(group.Value - 1)) && IsPlacedIn(member.Id, group);

    public void Begin()
    {
        foreach (var machine in world.Machines)
        {
            Drive(machine);
        }

        ScheduleWish();
    }

    /// <summary>A machine looks after its groups from now on.</summary>
    public void Drive(SimulatedMachine machine)
    {
        var driver = new Driver(world, machine);
        ScheduleLook(driver, machine);
    }

    /// <summary>It is no full member, and may not have heard so.</summary>
    public bool IsOut(NodeId node) => _newest.Find(node)?.State != MemberState.Member;

    /// <summary>It is one of those that are to vote in a group, if it may.</summary>
    public bool IsPlacedIn(NodeId node, GroupId group) => _newest.IsPlacedIn(node, new GroupId(group.Value - 1));

    /// <summary>Everybody votes everywhere.</summary>
    public bool IsPlacingOver => _newest is { ShardVoters: 0, Placements.IsEmpty: true } && IsSettled;

    /// <summary>All data nodes are to vote in all shards again.</summary>
    public void EndPlacing() => _isPlacingOver = true;

    /// <summary>
    /// Each shard has as many voters as there are to be, and no data node votes in two shards more than another one
    /// does, unless that one drains: it is taken last.
    /// </summary>
    public void CheckPlaces()
    {
        int[] able = [.. _newest.Nodes.Values
            .Where(static each => each.State == MemberState.Member && each.Roles.HasFlag(NodeRoles.Data))
            .Select(static each => each.Id.Value)];
        if (_newest.ShardVoters == 0)
        {
            return;
        }

        World.Check(
            _newest.Placements.Count == Shards && _newest.Placements.Values.All(
                voters => voters.Count == Math.Min(able.Length, _newest.ShardVoters) && voters.IsSubsetOf(able)),
            $"each shard has its voters");
        var loads = able.ToLookup(
            node => _newest.Nodes[node].IsDraining,
            node => _newest.Placements.Values.Count(voters => voters.Contains(node)));
        var least = (loads.Contains(false) ? loads[false] : loads[true]).Min();
        World.Check(
            loads.All(each => each.Max() <= least + 1),
            $"the shards' voters are spread evenly: {string.Join(',', loads[false])}; where nodes drain: "
            + string.Join(',', loads[true]));
    }

    /// <summary>
    /// Whoever only receives a shard's log has given up some of what its entries say, where it is to.
    /// </summary>
    public bool IsGivenUp => world.Machines.All(machine => machine.Replicas.Skip(1).OfType<ReplicaNode>().All(
        replica => _newest.KeepsRecords(machine.Id, new GroupId(replica.GroupId.Value - 1)) || replica.HasGivenUp));

    /// <summary>The one that drains, if there is one, may lead again.</summary>
    public void EndDrain() => _isDrainOver = true;

    /// <summary>A replica has applied an entry; whoever is first tells the world.</summary>
    public void Note(SimulatedNode node, ClusterMembers members, LogIndex index)
    {
        World.Check(
            members.Nodes.Values.Count(static each => each.IsChanging) <= 1,
            $"node {node.Id} knows of two members that are on their way");
        if (index <= _newestIndex || ReferenceEquals(members, _newest))
        {
            return;
        }

        _newestIndex = index;
        World.Check(
            !members.IsKnown || members.Nodes.Values.Aggregate(
                NodeRoles.None, static (all, member) => all | member.Roles) == NodeRoles.Both,
            $"the cluster has a member of each role");
        NoteStates(members);
        NotePlaces(members);
        foreach (var id in members.Nodes.Keys)
        {
            if (_given.Add(id))
            {
                world.Figures.Count(Figure.NodeJoined);
                world.Faults.MembersChange();
                world.AddMachine(id, members.Nodes[id].Roles);
            }
        }

        foreach (var id in _newest.Nodes.Keys.Where(id => !members.Nodes.ContainsKey(id)))
        {
            if (_gone.Add(id))
            {
                world.Figures.Count(Figure.NodeLeft);
                world.Faults.MembersChange();
                world.Scheduler.After(_random.NextInt64(WordMaxUs), () => world.RemoveMachine(id));
            }
        }

        _newest = members;
    }

    private void NoteStates(ClusterMembers members)
    {
        foreach (var member in members.Nodes.Values)
        {
            var before = _newest.Find(member.Id);
            if (member.State == MemberState.Evicting && before?.State != MemberState.Evicting)
            {
                world.Figures.Count(Figure.NodeEvicted);
                world.Faults.MembersChange();
            }

            world.Figures.Count(
                Figure.NodeReturned,
                member.State == MemberState.Joining && before?.State == MemberState.Evicted ? 1 : 0);
            world.Figures.Count(Figure.NodeDrained, member.IsDraining && before?.IsDraining == false ? 1 : 0);
        }
    }

    private void NotePlaces(ClusterMembers members)
    {
        if (ReferenceEquals(members.Placements, _newest.Placements))
        {
            return;
        }

        world.Figures.Count(Figure.ShardPlaced);
        world.Faults.MembersChange();
        foreach (var (shard, voters) in members.Placements)
        {
            World.Check(
                voters.All(voter => members.Nodes.TryGetValue(voter, out var member)
                    && member.State != MemberState.Evicted && member.Roles.HasFlag(NodeRoles.Data)),
                $"who is to vote in shard {shard} is there, and a data node");
        }
    }

    private void ScheduleLook(Driver driver, SimulatedMachine machine) =>
        world.Scheduler.After(_random.NextInt64(LookMinUs, LookMaxUs), () =>
        {
            if (machine.IsGone)
            {
                return;
            }

            if (machine.IsUp && !machine.IsPaused)
            {
                driver.Look();
            }

            ScheduleLook(driver, machine);
        });

    /// <summary>
    /// An operator's wishes come to an end with the faults; what was begun is completed. Who drains then does so until
    /// somebody has looked.
    /// </summary>
    private void ScheduleWish() => world.Scheduler.After(_random.NextInt64(WishIntervalMaxUs), () =>
    {
        if (world.IsCalm && _isDrainOver && !IsAnyDraining && _isPlacingOver && IsPlacingOver)
        {
            return;
        }

        if (world.Groups[0].Nodes.OfType<ReplicaNode>().FirstOrDefault(static node => node.IsLeader) is { } leader)
        {
            if (world.IsCalm)
            {
                EndDrain(leader);
                EndPlacing(leader);
            }
            else
            {
                Wish(leader);
                WishDrain(leader);
                WishPlaces(leader);
            }
        }

        SendAway();

        ScheduleWish();
    });

    private void Wish(ReplicaNode leader)
    {
        var members = leader.ClusterMembers;
        if (members.Changing is { State: MemberState.Joining } late && _random.Next(4) == 0)
        {
            // It has not come yet, and is taken back.
            Propose(leader, into => MemberCommands.WriteChanged(into, late.Id, MemberState.Leaving));
        }
        else if (members.Changing is null && _random.Next(8) == 0
            && members.Nodes.Values.FirstOrDefault(static each => each.State == MemberState.Evicted) is { } evicted
            && CanLeave(members, evicted))
        {
            // Its operator gives it up.
            Propose(leader, into => MemberCommands.WriteChanged(into, evicted.Id, MemberState.Leaving));
        }
        else if (_joinsLeft > 0 && members.IsKnown && _random.Next(3) > 0)
        {
            _joinsLeft--;
            var disk = new Guid(_random.Next(), 0, 0, [1, 2, 3, 4, 5, 6, 7, 8]);
            var roles = world.Scenario.HasRoles ? (NodeRoles)_roles.Next(1, 4) : NodeRoles.Both;
            Propose(leader, into => MemberCommands.WriteJoined(
                into, disk, $"broker-{disk:N}", "http://broker:1", roles));
        }
        else if (members.Nodes.Count > LeastMembers && world.Faults.CanSpareOne
            && (world.Scenario.EvictAfter is null || _random.Next(6) == 0))
        {
            var id = members.Nodes.Keys.ElementAt(_random.Next(members.Nodes.Count));
            if (!CanLeave(members, members.Nodes[id]))
            {
                return;
            }

            world.Faults.MembersChange();
            Propose(leader, into => MemberCommands.WriteChanged(into, new NodeId(id), MemberState.Leaving));
        }
    }

    /// <summary>Each group that it votes in keeps so many voters.</summary>
    private static bool CanLeave(ClusterMembers members, ClusterMember leaving) =>
        new[] { NodeRoles.Controller, NodeRoles.Data }.All(role => !leaving.Roles.HasFlag(role)
            || members.Nodes.Values.Count(each => each.Roles.HasFlag(role)) > LeastMembers);

    /// <summary>
    /// A machine that leads nothing is away for longer than the faults mostly are, so that it is evicted.
    /// </summary>
    private void SendAway()
    {
        var able = world.Machines.Where(static machine => machine.IsUp && !machine.LeadsAny).ToArray();
        if (world.Scenario.EvictAfter is not null && !world.IsCalm && able.Length > 0
            && world.Scheduler.NowUs >= _awayUntilUs && _random.Next(3) == 0)
        {
            var lengthUs = _random.NextInt64(AwayMinUs, AwayMaxUs);
            var machine = able[_random.Next(able.Length)];
            _awayUntilUs = world.Scheduler.NowUs + lengthUs;
            machine.Crash();
            world.Scheduler.After(lengthUs, machine.Start);
        }
    }

    /// <summary>One drains at a time; mostly somebody does.</summary>
    private void WishDrain(ReplicaNode leader)
    {
        var nodes = leader.ClusterMembers.Nodes;
        if (nodes.Values.FirstOrDefault(static each => each.IsDraining) is { } drained)
        {
            if (_random.Next(3) == 0)
            {
                Propose(leader, into => MemberCommands.WriteDrained(into, drained.Id, isDraining: false));
            }
        }
        else if (nodes.Count > 0)
        {
            var id = new NodeId(nodes.Keys.ElementAt(_random.Next(nodes.Count)));
            Propose(leader, into => MemberCommands.WriteDrained(into, id, isDraining: true));
        }
    }

    /// <summary>An operator changes now and then how many are to vote in a shard.</summary>
    private void WishPlaces(ReplicaNode leader)
    {
        if (world.Scenario.Places && leader.ClusterMembers.IsKnown && _places.Next(6) == 0)
        {
            var count = _places.Next(3) is var drawn && drawn == 0 ? 0 : drawn + 2;
            var keepAlone = count > 0 && _records.Next(2) == 0;
            Propose(leader, into => MemberCommands.WriteShardVoters(into, count, keepAlone));
        }
    }

    /// <summary>
    /// When the faults are over some nodes vote, whoever leads by then, and when somebody has looked all do.
    /// </summary>
    private void EndPlacing(ReplicaNode leader)
    {
        var count = world.Scenario.Places && !_isPlacingOver ? 3 : 0;
        var keepAlone = count > 0 && seed % 3 > 0;
        if (leader.ClusterMembers is { IsKnown: true } members
            && (members.ShardVoters != count || members.VotersKeepRecordsAlone != keepAlone))
        {
            Propose(leader, into => MemberCommands.WriteShardVoters(into, count, keepAlone));
        }
    }

    private void EndDrain(ReplicaNode leader)
    {
        foreach (var member in leader.ClusterMembers.Nodes.Values.Where(each => each.IsDraining && _isDrainOver))
        {
            Propose(leader, into => MemberCommands.WriteDrained(into, member.Id, isDraining: false));
        }
    }

    private static void Propose(ReplicaNode leader, Action<IBufferWriter<byte>> write) =>
        leader.Propose(StepClient.Encode(write), null, static (_, _) => { });

    /// <summary>What MembershipDriver does in a real node.</summary>
    private sealed class Driver(World world, SimulatedMachine machine)
    {
        private Task<LogIndex>? _answer;
        private long _askedUs;

        /// <summary>Nobody is evicted any more when the faults are over.</summary>
        private EvictionWatch _silence = new(machine.Id, world.Scenario.EvictAfter);
        private Task<IReadOnlyList<FollowerProgress>>? _followers;
        private (int Life, bool IsCalm) _watched;

        /// <summary>What the others have answered to the last question, in this life of the process.</summary>
        private readonly List<(GroupId Group, ReplicaFacts Facts)> _answers = [];
        private (int Number, int Life) _question;

        private List<ReplicaNode> Replicas => [.. machine.Replicas.Cast<ReplicaNode>()];

        public void Look()
        {
            var replicas = Replicas;
            var members = replicas[0].ClusterMembers;
            var views = LookAtGroups(members, replicas);
            var plan = PlanOf(members, views ?? LookHere(replicas));
            var isDue = false;
            for (var at = 0; at < replicas.Count && views is not null; at++)
            {
                if (!replicas[at].IsLeader || !members.IsKnown || !plan.IsDue(at))
                {
                    replicas[at].Desire(
                        !replicas[at].IsLeader ? null
                        : members.IsKnown ? plan.MembersOf(at)
                        : new DesiredMembers(SimulatedNode.FoundersOf(world.Groups[at]), []));
                }
                else
                {
                    isDue = true;
                }
            }

            if (isDue && IsCaughtUp(replicas[0]))
            {
                Approach();
            }

            replicas.ForEach(replica => replica.Drain(members.Find(machine.Id)?.IsDraining ?? false));
            for (var at = 1; at < replicas.Count; at++)
            {
                replicas[at].LetBeHollow(members.IsKnown && !members.KeepsRecords(machine.Id, new GroupId(at)));
            }

            var isLeaving = members.Find(machine.Id)?.State is MemberState.Leaving or MemberState.Evicting;
            foreach (var leader in replicas.Where(node => node.IsLeader && isLeaving))
            {
                leader.HandOver();
            }

            for (var at = 1; at < replicas.Count; at++)
            {
                if (replicas[at].IsLeader
                    && PlacementPlan.MustHandOver(members, at, machine.Id, replicas[at].Members))
                {
                    replicas[at].HandOver();
                }
            }

            if (replicas[0].IsLeader)
            {
                LeadMetadata(replicas, members, plan, views);
            }

            // For the next look: the answers that are here were for this one.
            AskOthers();
        }

        private void LeadMetadata(
            List<ReplicaNode> replicas, ClusterMembers members, MembershipPlan plan, IReadOnlyList<GroupView>? views)
        {
            if (!members.IsKnown)
            {
                ClusterMember[] founders = [.. Founders(world).Select(id =>
                    new ClusterMember(id, $"broker-{id}", "http://broker:1", MemberState.Member)
                    {
                        Roles = world.MachineOf(id.Value).Roles,
                    })];
                Propose(replicas[0], into => MemberCommands.WriteFounded(into, founders));
            }
            else if (members.Changing is { } member && views is not null
                && plan.OutcomeOf(member, at => views[at].IsCommitted) is var outcome
                && outcome != member.State)
            {
                Propose(replicas[0], into => MemberCommands.WriteChanged(into, member.Id, outcome));
            }
            else
            {
                LookForSilence(replicas, members);
            }

            Place(replicas, members);
        }

        private void Place(List<ReplicaNode> replicas, ClusterMembers members)
        {
            if (members.IsKnown && PlacementPlan.Next(members, world.Groups.Count - 1) is { } move
                && (move.IsUrgent || (members.Changing is null && ViewsOfAll(replicas) is { } views
                    && PlacementPlan.IsSettled(members, views))))
            {
                Propose(replicas[0], into => MemberCommands.WriteShardPlaced(into, move.Shard, move.Voters));
            }
        }

        private void LookForSilence(List<ReplicaNode> replicas, ClusterMembers members)
        {
            if (_watched != (machine.Life, world.IsCalm))
            {
                _watched = (machine.Life, world.IsCalm);
                _silence = new EvictionWatch(machine.Id, world.IsCalm ? null : world.Scenario.EvictAfter);
                _followers = null;
            }

            if (_followers is { IsCompletedSuccessfully: true }
                && _silence.Look(
                    members,
                    replicas[0].Term,
                    PendingCalls.ResultOf(_followers),
                    ViewsOfAll(replicas) is { } views ? [.. views.Select(static view => view.Members)] : null,
                    (long)(world.Scheduler.NowUs * machine.ClockRate / 1_000)) is var (id, state))
            {
                Propose(replicas[0], into => MemberCommands.WriteChanged(into, id, state));
            }

            _followers = replicas[0].AskFollowers();
        }

        private void Approach()
        {
            var replicas = Replicas;
            if (LookAtGroups(replicas[0].ClusterMembers, replicas) is not { } views)
            {
                return;
            }

            var plan = PlanOf(replicas[0].ClusterMembers, views);
            for (var at = 0; at < replicas.Count; at++)
            {
                if (replicas[at].IsLeader)
                {
                    replicas[at].Approach(plan.MembersOf(at));
                }
            }
        }

        /// <summary>Whether the own replica of the members has what their leader had when it was asked.</summary>
        private bool IsCaughtUp(ReplicaNode own)
        {
            if (_answer is { IsCompletedSuccessfully: true } && own.AppliedIndex >= PendingCalls.ResultOf(_answer))
            {
                _answer = null;
                return true;
            }

            if (_answer is null or { IsFaulted: true } || world.Scheduler.NowUs - _askedUs > AnswerWithinUs)
            {
                _ = _answer?.Exception;
                _askedUs = world.Scheduler.NowUs;
                _answer = world.Groups[0].Nodes.OfType<ReplicaNode>().FirstOrDefault(
                    static node => node.IsLeader && !node.Machine.IsPaused)?.AskIndex();
            }

            return false;
        }

        private static MembershipPlan PlanOf(ClusterMembers members, IReadOnlyList<GroupView> views) =>
            new(members, [.. views.Select(static view => view.Members)]);

        /// <summary>Null: it does not know by itself how far a data node has come, and has not heard it.</summary>
        private IReadOnlyList<GroupView>? LookAtGroups(ClusterMembers members, List<ReplicaNode> replicas) =>
            replicas[0].IsLeader && members.Changing?.Roles.HasFlag(NodeRoles.Data) == true
                ? ViewsOfAll(replicas)
                : LookHere(replicas);

        private IReadOnlyList<GroupView> LookHere(List<ReplicaNode> replicas) =>
        [
            .. world.Groups.Select((_, at) => at < replicas.Count
                ? new GroupView(replicas[at].Members, replicas[at].KnowsMembersCommitted)
                : new GroupView(GroupConfiguration.None, IsCommitted: false)),
        ];

        private IReadOnlyList<GroupView>? ViewsOfAll(List<ReplicaNode> replicas)
        {
            var views = LookHere(replicas);
            if (replicas.Count == world.Groups.Count)
            {
                return views;
            }

            if (_question.Life != machine.Life)
            {
                return null;
            }

            var asked = world.Groups.Skip(1).Select(group => GroupView.Of(
                [.. _answers.Where(each => each.Group == group.Id).Select(static each => each.Facts)])).ToList();
            return asked.Contains(null) ? null : [views[0], .. asked.OfType<GroupView>()];
        }

        /// <summary>The answers come while this one waits; who is away or cut off gives none.</summary>
        private void AskOthers()
        {
            _answers.Clear();
            var question = (_question.Number + 1, machine.Life);
            _question = question;
            foreach (var other in world.Machines)
            {
                if (machine.Roles.HasFlag(NodeRoles.Data) || !other.Roles.HasFlag(NodeRoles.Data))
                {
                    continue;
                }

                world.Scheduler.After(world.Scenario.NetworkDelayMaxUs, () =>
                {
                    if (question == _question && machine.Life == question.Life
                        && other is { IsUp: true, IsPaused: false }
                        && world.Network.CanAsk(machine.Id.Value, other.Id.Value))
                    {
                        _answers.AddRange(other.Replicas.Skip(1).OfType<ReplicaNode>()
                            .Where(static replica => replica.Facts is not null)
                            .Select(static replica => (replica.GroupId, replica.Facts!)));
                    }
                });
            }
        }
    }
}
