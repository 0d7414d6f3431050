using System.Buffers;
using Broker.Cluster;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Storage;
using Broker.Tests.Simulation;
using Broker.Tests.Unit.Replication;
using Broker.Tests.Unit.Topics;
using Broker.Transport;
using Xunit;

namespace Broker.Tests.Unit.Cluster;

/// <summary>
/// Three nodes that start, stop, meet and lose their disks in any order, by seed: real stores, gates and decisions. The
/// log is left out; what stands for it is that a majority of founded disks that take each other in may elect a leader.
/// </summary>
public sealed class FormationTests
{
    private const int Count = 3;
    private static readonly int[] Numbers = [1, 2, 3];

    private readonly ManualTime _time = new();
    private readonly List<Member> _members = [];
    private readonly HashSet<(int, int)> _streams = [];
    private readonly Entries _entries = new();
    private Guid? _clusterId;

    [Fact]
    public void Cluster_forms_when_all_its_nodes_are_there_and_not_before()
    {
        Begin();
        Connect(1, 2);
        Assert.Equal(FormationStep.Wait, Look(1).Step);
        Assert.Contains("all its 3 nodes are connected; broker-3 is not", Look(1).Obstacle, StringComparison.Ordinal);
        Connect(1, 3);
        Assert.Equal(FormationStep.Found, Look(1).Step);
        Assert.Contains("broker-3 is not", Look(2).Obstacle, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(NodeRoles.Data, NodeRoles.Data, NodeRoles.Data, "it needs one controller")]
    [InlineData(NodeRoles.Controller, NodeRoles.Controller, NodeRoles.Controller, "it needs one data node")]
    [InlineData(NodeRoles.Controller, NodeRoles.Data, NodeRoles.Data, "")]
    [InlineData(NodeRoles.Both, NodeRoles.Data, NodeRoles.Data, "")]
    public void Cluster_forms_with_a_controller_and_a_data_node_and_founders_know_each_others_roles(
        NodeRoles first, NodeRoles second, NodeRoles third, string obstacle)
    {
        NodeRoles[] roles = [first, second, third];
        foreach (var number in Numbers)
        {
            _members.Add(new Member(number) { Roles = roles[number - 1] });
            Start(number);
        }

        Connect(1, 2);
        Connect(1, 3);
        Connect(2, 3);
        Assert.All(Numbers, number =>
        {
            var verdict = Look(number);
            Assert.Equal(obstacle.Length == 0 ? FormationStep.Found : FormationStep.Wait, verdict.Step);
            Assert.Contains(obstacle, verdict.Obstacle, StringComparison.Ordinal);
            Assert.Equal(
                obstacle.Length == 0 ? Numbers.Select(each => new Founder(new NodeId(each), roles[each - 1])) : null,
                verdict.Founders);
        });
    }

    [Fact]
    public void Two_wiped_nodes_wait_for_the_third_and_are_told_what_to_do()
    {
        Form();
        Wipe(1);
        Wipe(2);
        Stop(3);
        Connect(1, 2);
        Assert.Contains("must not form another", Look(1).Obstacle, StringComparison.Ordinal);
        Start(3);
        Connect(1, 3);
        Connect(2, 3);
        Assert.Contains("Broker__ReplaceLostDisk=true", Look(1).Obstacle, StringComparison.Ordinal);
        Assert.Contains("broker-3 says", Look(2).Obstacle, StringComparison.Ordinal);
    }

    [Fact]
    public void Wiped_node_joins_by_its_operators_word_and_its_old_disk_is_refused_for_ever()
    {
        Form();
        var old = _members[1].Device;
        Wipe(2);
        Stop(2);
        Start(2, replaces: true);
        Connect(1, 2);
        Assert.Equal(FormationStep.Wait, Look(2).Step);
        _time.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal(FormationStep.Join, Look(2).Step);
        Act(2);
        Register();
        Connect(2, 3);
        Assert.Contains((2, 3), _streams);

        Stop(2);
        _members[1].Device = old;
        Start(2, replaces: true);
        Connect(1, 2);
        Connect(2, 3);
        Assert.DoesNotContain(_streams, static pair => pair.Item1 == 2 || pair.Item2 == 2);
    }

    [Fact]
    public void No_second_cluster_forms_whatever_is_lost()
    {
        for (var seed = 1; seed <= 300; seed++)
        {
            RunSeed(seed);
        }
    }

    private void RunSeed(int seed)
    {
        var random = new Random(seed);
        Begin();
        for (var step = 0; step < 200; step++)
        {
            var (one, other) = (random.Next(1, Count + 1), random.Next(1, Count + 1));
            switch (random.Next(12))
            {
                case 0:
                    Stop(one);
                    break;
                case 1 or 2:
                    Start(one, replaces: random.Next(3) == 0);
                    break;
                case 3 when _members.Count(member => member.HasCluster) > 1 || !_members[one - 1].HasCluster:
                    Wipe(one);
                    break;
                case 4:
                    _time.Advance(TimeSpan.FromSeconds(2));
                    break;
                case 5:
                    Register();
                    break;
                case 6:
                    _streams.RemoveWhere(pair => pair == (one, other));
                    break;
                case 7 or 8:
                    Act(one);
                    break;
                default:
                    Connect(one, other);
                    break;
            }

            Elect(seed);
        }
    }

    /// <summary>
    /// A majority of founded disks, none of which knows of a cluster, may elect a leader, who draws an id.
    /// </summary>
    private void Elect(int seed)
    {
        var able = _members.Where(member => member is { IsUp: true, Votes: true }).ToArray();
        foreach (var one in able)
        {
            var majority = able.Where(other => other == one || AreConnected(one.Number, other.Number)).ToArray();
            if (majority.Length <= Count / 2)
            {
                continue;
            }

            if (majority.All(static member => member.Store!.ClusterId is null))
            {
                Assert.True(_clusterId is null, $"seed {seed}: a second cluster forms");
                _clusterId = Guid.NewGuid();
            }

            foreach (var member in majority.Where(static member => member.Store!.ClusterId is null))
            {
                member.Store!.SetClusterId(_clusterId!.Value);
                member.HasCluster = true;
            }
        }
    }

    private void Form()
    {
        Begin();
        Connect(1, 2);
        Connect(1, 3);
        Connect(2, 3);
        Array.ForEach(Numbers, Act);
        Elect(0);
        Register();
        Assert.All(_members, member => Assert.Equal(_clusterId, member.Store!.ClusterId));
    }

    private void Begin()
    {
        _members.ForEach(static member => member.Store?.Dispose());
        _members.Clear();
        _streams.Clear();
        _clusterId = null;
        foreach (var number in Numbers)
        {
            _members.Add(new Member(number));
            Start(number);
        }
    }

    private void Start(int number, bool replaces = false)
    {
        var member = _members[number - 1];
        if (!member.IsUp)
        {
            member.Start(_time, replaces);
        }
    }

    private void Stop(int number)
    {
        foreach (var (one, other) in _streams.Where(pair => pair.Item1 == number || pair.Item2 == number).ToArray())
        {
            _streams.Remove((one, other));
            _members[one - 1].Gate?.Disconnected(new NodeId(other));
            _members[other - 1].Gate?.Disconnected(new NodeId(one));
        }

        _members[number - 1].Stop();
    }

    private void Wipe(int number)
    {
        Stop(number);
        _members[number - 1] = new Member(number);
        Start(number);
    }

    /// <summary>The handshake of PeerTransport: the lower number dials, each side admits the other.</summary>
    private void Connect(int one, int other)
    {
        var (dialer, acceptor) = (_members[Math.Min(one, other) - 1], _members[Math.Max(one, other) - 1]);
        if (one == other || !dialer.IsUp || !acceptor.IsUp || AreConnected(one, other))
        {
            return;
        }

        var call = dialer.Gate!.Hello;
        if (!acceptor.Gate!.Admits(call, out var reason))
        {
            dialer.Gate.RefusedBy(new NodeId(acceptor.Number), reason);
            acceptor.Gate.RefusedBy(new NodeId(dialer.Number), reason);
            return;
        }

        var answer = acceptor.Gate.Hello;
        acceptor.Gate.Connected(new NodeId(dialer.Number), call);
        if (!dialer.Gate.Admits(answer, out reason))
        {
            dialer.Gate.RefusedBy(new NodeId(acceptor.Number), reason);
            acceptor.Gate.Disconnected(new NodeId(dialer.Number));
            return;
        }

        dialer.Gate.Connected(new NodeId(acceptor.Number), answer);
        _streams.Add((dialer.Number, acceptor.Number));
    }

    private bool AreConnected(int one, int other) => _streams.Contains((Math.Min(one, other), Math.Max(one, other)));

    private FormationVerdict Look(int number)
    {
        var member = _members[number - 1];
        return Formation.Decide(member.Options, member.Register!, _time.GetUtcNow());
    }

    private void Act(int number)
    {
        var member = _members[number - 1];
        if (!member.IsUp || member.Store!.IsFounded)
        {
            return;
        }

        var verdict = Look(number);
        GroupId[] groups = [GroupId.Metadata, new GroupId(1)];
        if (verdict.Step == FormationStep.Found)
        {
            member.Store.Found(groups, member.Register!.Met.ToDictionary(
                static met => met.Key, static met => met.Value.StoreId), verdict.Founders!);
            member.Votes = true;
        }
        else if (verdict.Step == FormationStep.Join)
        {
            Assert.Equal(_clusterId, verdict.ClusterId);
            member.Store.AddKnownGroups(groups);
            member.Store.SetClusterId(verdict.ClusterId!.Value);
            member.HasCluster = true;
        }
    }

    /// <summary>Some leader registers whom it sees, and all that are up learn of it.</summary>
    private void Register()
    {
        foreach (var leader in _members.Where(static member => member is { IsUp: true, Votes: true, HasCluster: true }))
        {
            foreach (var (id, sight) in leader.Register!.Met)
            {
                var node = new NodeRegistration(id, sight.Name, sight.StoreId);
                Commit(into => ClusterCommands.WriteNodeRegistered(into, node));
                if (sight.ReplacesLostDisk)
                {
                    Commit(into => ClusterCommands.WriteNodeReplaced(into, node));
                }
            }

            var self = new NodeRegistration(new NodeId(leader.Number), leader.Options.NodeName, leader.Store!.StoreId);
            Commit(into => ClusterCommands.WriteNodeRegistered(into, self));
            return;
        }
    }

    private void Commit(Action<IBufferWriter<byte>> write)
    {
        var entry = _entries.Of(Entries.Metadata(write));
        foreach (var member in _members.Where(static member => member.HasCluster))
        {
            member.Metadata.Apply(entry, []);
        }
    }

    private sealed class Member(int number)
    {
        public int Number => number;

        public NodeRoles Roles { get; init; } = NodeRoles.Both;

        public SimulatedDevice Device { get; set; } = new(number);

        public NodeStore? Store { get; private set; }

        public PeerRegister? Register { get; private set; }

        public PeerGate? Gate { get; private set; }

        /// <summary>Stands for the metadata group's log on this disk.</summary>
        public MetadataStateMachine Metadata { get; } = new();

        public bool IsUp => Store is not null;

        /// <summary>Its groups began as those of a founder: it gives votes.</summary>
        public bool Votes { get; set; }

        public bool HasCluster { get; set; }

        public ClusterOptions Options { get; private set; } = MakeOptions(number, replaces: false);

        public void Start(TimeProvider time, bool replaces)
        {
            Options = MakeOptions(number, replaces) with { Roles = Roles };
            Store = NodeStore.Open(Device, "/data", Options.NodeName, Options.NodeId, 1, Guid.NewGuid, Roles);
            Register = new PeerRegister(time);
            Gate = new PeerGate(Options, Store, Metadata, Register, new NodeDirectory(Options));
        }

        public void Stop()
        {
            Store?.Dispose();
            Store = null;
            Register = null;
            Gate = null;
            Device.Kill();
        }

        private static ClusterOptions MakeOptions(int number, bool replaces) => new()
        {
            NodeName = $"broker-{number}",
            NodeId = new NodeId(number),
            DataDirectory = "/data",
            DataShards = 1,
            Nodes = [.. Numbers.Select(static each => new PeerEndpoint(
                new NodeId(each), $"broker-{each}", new Uri("http://localhost")))],
            ReplacesLostDisk = replaces,
        };
    }
}
