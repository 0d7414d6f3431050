using System.Collections.Immutable;
using Broker.Cluster;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Transport;
using Xunit;

namespace Broker.Tests.Unit.Cluster;

/// <summary>What follows from the members for the groups, and where a node looks for the others.</summary>
public sealed class MembershipPlanTests
{
    private static readonly NodeId Four = new(4);

    [Fact]
    public void A_node_comes_into_one_group_after_another()
    {
        var members = With(Four, MemberState.Joining);
        Assert.Equal(["1 2 3 4", "1 2 3", "1 2 3"], Wanted(members, "1 2 3", "1 2 3", "1 2 3"));
        Assert.Equal(["1 2 3 4", "1 2 3 4", "1 2 3"], Wanted(members, "1 2 3 4", "1 2 3", "1 2 3"));
        Assert.Equal(["1 2 3 4", "1 2 3 4", "1 2 3 4"], Wanted(members, "1 2 3 4", "1 2 3 4", "1 2 3"));
        Assert.Equal(MemberState.Joining, Outcome(members, "1 2 3 4", "1 2 3 4", "1 2 3"));
        Assert.Equal(MemberState.Member, Outcome(members, "1 2 3 4", "1 2 3 4", "1 2 3 4"));
        Assert.Equal(
            MemberState.Joining,
            Plan(members, "1 2 3 4", "1 2 3 4").OutcomeOf(members.Find(Four)!, static at => at != 1));
    }

    [Fact]
    public void It_leaves_them_so_and_the_metadata_last()
    {
        var members = With(Four, MemberState.Leaving);
        Assert.Equal(["1 2 3 4", "1 2 3", "1 2 3 4"], Wanted(members, "1 2 3 4", "1 2 3 4", "1 2 3 4"));
        Assert.Equal(["1 2 3 4", "1 2 3", "1 2 3"], Wanted(members, "1 2 3 4", "1 2 3", "1 2 3 4"));
        Assert.Equal(["1 2 3", "1 2 3", "1 2 3"], Wanted(members, "1 2 3 4", "1 2 3", "1 2 3"));
        Assert.Equal(MemberState.Leaving, Outcome(members, "1 2 3 4", "1 2 3", "1 2 3"));
        Assert.Equal(MemberState.Left, Outcome(members, "1 2 3", "1 2 3", "1 2 3"));
    }

    [Fact]
    public void One_that_is_evicted_leaves_so_too_and_then_only_receives_the_metadata()
    {
        var members = With(Four, MemberState.Evicting);
        Assert.Equal(["1 2 3 4", "1 2 3", "1 2 3 4"], Wanted(members, "1 2 3 4", "1 2 3 4", "1 2 3 4"));
        Assert.Equal(["1 2 3", "1 2 3", "1 2 3"], Wanted(members, "1 2 3 4", "1 2 3", "1 2 3"));
        Assert.Equal(MemberState.Evicting, Outcome(members, "1 2 3 4", "1 2 3", "1 2 3"));
        Assert.Equal(MemberState.Evicted, Outcome(members, "1 2 3", "1 2 3", "1 2 3"));
        var plan = Plan(With(Four, MemberState.Evicted), "1 2 3", "1 2 3");
        Assert.Equal(["1 2 3 + 4", "1 2 3 + "], Enumerable.Range(0, 2).Select(
            at => $"{Text(plan.MembersOf(at).Voters)} + {Text(plan.MembersOf(at).Learners)}"));
        Assert.Equal([true, false], Enumerable.Range(0, 2).Select(at => plan.IsDue(at)));
        var there = new MembershipPlan(
            With(Four, MemberState.Evicted),
            [new GroupConfiguration(new LogIndex(1), [new(1), new(2), new(3)], [Four]), Configuration("1 2 3")]);
        Assert.Equal([false, false], Enumerable.Range(0, 2).Select(at => there.IsDue(at)));
    }

    [Fact]
    public void Nothing_changes_before_the_members_are_known_and_strangers_go_afterwards()
    {
        Assert.Equal(["1 2", "1 2 3"], Wanted(ClusterMembers.Empty, "1 2", "1 2 3"));
        var plan = Plan(With(Four, MemberState.Member), "1 2 3 4", "1 2 3 4 5", "2 3 4");
        Assert.Equal([false, true, true], Enumerable.Range(0, 3).Select(at => plan.IsDue(at)));
        Assert.Equal(["1 2 3 4", "1 2 3 4", "1 2 3 4"], Enumerable.Range(0, 3).Select(at => Text(plan.VotersOf(at))));
    }

    [Fact]
    public void Controllers_vote_in_the_metadata_alone_and_data_nodes_receive_it_and_vote_in_the_others()
    {
        var members = WithRoles((5, NodeRoles.Data, MemberState.Member));
        Assert.Equal(["1 2 + 3 5", "2 3 5 + ", "2 3 5 + "], Wanted(new MembershipPlan(members, Groups("1 2", "2 3"))));

        // Nobody is moved that is where it belongs, and a stranger to a group goes.
        var plan = new MembershipPlan(
            members, [Configuration("1 2", "3 5"), Configuration("2 3 5"), Configuration("1 2 3 5")]);
        Assert.Equal([false, false, true], Enumerable.Range(0, 3).Select(at => plan.IsDue(at)));
    }

    [Fact]
    public void A_data_node_receives_the_metadata_before_it_votes_anywhere_and_a_controller_is_there_by_then()
    {
        var data = WithRoles((5, NodeRoles.Data, MemberState.Joining));
        Assert.Equal(["1 2 + 3 5", "2 3 + ", "2 3 + "], Wanted(new MembershipPlan(data, Groups("1 2", "2 3"))));
        GroupConfiguration[] received = [Configuration("1 2", "3 5"), Configuration("2 3"), Configuration("2 3")];
        Assert.Equal(["1 2 + 3 5", "2 3 5 + ", "2 3 + "], Wanted(new MembershipPlan(data, received)));
        Assert.Equal(MemberState.Joining, OutcomeOf(data, received));
        Assert.Equal(
            MemberState.Member,
            OutcomeOf(data, [received[0], Configuration("2 3 5"), Configuration("2 3 5")]));

        // Whoever leads the metadata need not know of the other groups to take a controller in.
        var controller = WithRoles((5, NodeRoles.Controller, MemberState.Joining));
        GroupConfiguration[] alone = [Configuration("1 2 5", "3"), GroupConfiguration.None, GroupConfiguration.None];
        Assert.Equal("1 2 5 + 3", Wanted(new MembershipPlan(controller, alone)).First());
        Assert.Equal(MemberState.Member, new MembershipPlan(controller, alone).OutcomeOf(
            controller.Find(new NodeId(5))!, static at => at == 0));
    }

    [Fact]
    public void A_data_node_goes_on_receiving_the_metadata_until_it_has_left_the_others()
    {
        var leaving = WithRoles((5, NodeRoles.Data, MemberState.Leaving));
        GroupConfiguration[] all = [Configuration("1 2", "3 5"), Configuration("2 3 5"), Configuration("2 3 5")];
        Assert.Equal(["1 2 + 3 5", "2 3 + ", "2 3 5 + "], Wanted(new MembershipPlan(leaving, all)));
        GroupConfiguration[] last = [all[0], Configuration("2 3"), Configuration("2 3")];
        Assert.Equal(["1 2 + 3", "2 3 + ", "2 3 + "], Wanted(new MembershipPlan(leaving, last)));
        Assert.Equal(MemberState.Leaving, OutcomeOf(leaving, last));
        Assert.Equal(MemberState.Left, OutcomeOf(leaving, [Configuration("1 2", "3"), last[1], last[2]]));

        // One that is evicted stays there.
        var evicting = WithRoles((5, NodeRoles.Data, MemberState.Evicting));
        Assert.Equal(["1 2 + 3 5", "2 3 + ", "2 3 + "], Wanted(new MembershipPlan(evicting, last)));
        Assert.Equal(MemberState.Evicting, OutcomeOf(evicting, all));
        Assert.Equal(MemberState.Evicted, OutcomeOf(evicting, last));
    }

    // It led a shard, had lost its replica of the metadata, and was to go: nobody told it, so it led on and never went.
    [Theory]
    [InlineData(MemberState.Leaving)]
    [InlineData(MemberState.Evicting)]
    public void One_that_goes_and_has_lost_the_metadata_gets_it_again_until_it_has_left_the_others(MemberState state)
    {
        var members = With(Four, state);
        GroupConfiguration[] lost = [Configuration("1 2 3"), Configuration("1 2 3 4"), Configuration("1 2 3 4")];
        Assert.Equal(["1 2 3 + 4", "1 2 3 + ", "1 2 3 4 + "], Wanted(new MembershipPlan(members, lost)));
        GroupConfiguration[] left = [Configuration("1 2 3", "4"), Configuration("1 2 3"), Configuration("1 2 3")];
        Assert.Equal(["1 2 3 + ", "1 2 3 + ", "1 2 3 + "], Wanted(new MembershipPlan(members, left)));
    }

    [Fact]
    public void Who_is_in_a_group_is_known_by_word_of_the_leader_that_most_of_its_voters_follow()
    {
        GroupConfiguration old = Configuration("1 2 3"), now = new(new LogIndex(9), [new(1), new(2)], []);
        ReplicaFacts Say(int node, int term, int leader, GroupConfiguration members, long committed = 9) =>
            ReplicaFacts.Unknown(new NodeId(node)) with
            {
                Answers = true,
                Term = new Term(term),
                Leader = new NodeId(leader),
                Members = members,
                CommitIndex = new LogIndex(committed),
            };

        Assert.Equal(new GroupView(now, true), GroupView.Of([Say(1, 5, 1, now), Say(2, 5, 1, now), Say(3, 4, 3, old)]));
        Assert.False(GroupView.Of([Say(1, 5, 1, now, 8), Say(2, 5, 1, old)])!.IsCommitted);

        // One that was replaced and does not know it; one that nobody follows yet; nobody at all.
        Assert.Null(GroupView.Of([Say(3, 4, 3, old), Say(1, 5, 2, now)]));
        Assert.Null(GroupView.Of([Say(1, 5, 1, now), Say(3, 4, 3, old)]));
        Assert.Null(GroupView.Of([ReplicaFacts.Unknown(new NodeId(1))]));
    }

    [Fact]
    public void A_node_is_where_it_says_and_is_looked_for_where_it_was_said_to_be()
    {
        var directory = Directory();
        var two = new NodeId(2);
        directory.Heard(two, "http://heard:1", "http://clients:1");
        Assert.Equal("http://heard:1/", Where(directory, two));
        Assert.Equal("http://clients:1", directory.Find(two)!.ClientAddressText);

        // A node that starts replays old members: what it heard since holds, but a change is news.
        directory.Apply(Members("http://old:1"));
        Assert.Equal("http://heard:1/", Where(directory, two));
        directory.Apply(Members("http://news:1"));
        Assert.Equal("http://news:1/", Where(directory, two));
        var tried = new HashSet<string?>();
        for (var i = 0; i < 4; i++)
        {
            directory.NotReached(two);
            tried.Add(Where(directory, two));
        }

        string[] all = ["http://heard:1/", "http://n2:1/", "http://news:1/", "http://old:1/"];
        Assert.Equal(all, tried.Order(StringComparer.Ordinal));
        directory.Heard(two, "nonsense", "nonsense");
        Assert.NotEqual("nonsense", Where(directory, two));
        Assert.Equal("http://clients:1", directory.Find(two)!.ClientAddressText);
    }

    [Fact]
    public void Only_who_leaves_is_forgotten()
    {
        var directory = Directory();
        directory.Learn([(new ClusterMember(new NodeId(9), "n9", "http://n9:1", MemberState.Member), "http://c9:1")]);
        Assert.Equal("http://c9:1", directory.Find(new NodeId(9))!.ClientAddressText);
        directory.Apply(With(Four, MemberState.Joining));
        Assert.Equal([1, 2, 3, 4, 9], directory.Nodes.Select(static node => node.Node.Value));
        var changes = new List<int>();
        directory.OnChange(nodes => changes.Add(nodes.Count()));
        directory.Apply(Members("http://n2:1") with { LastId = 4 });
        Assert.Equal([1, 2, 3, 9], directory.Nodes.Select(static node => node.Node.Value));
        Assert.Equal([4], changes);
    }

    /// <summary>It was listed for good, without a state, and dialled.</summary>
    [Fact]
    public void Who_has_left_stays_forgotten_whatever_a_peer_or_service_discovery_says()
    {
        var directory = Directory();
        directory.Apply(With(Four, MemberState.Member)); // A node that starts, and service discovery names 1 to 3.
        var left = With(Four, MemberState.Member);
        left = left with { Nodes = left.Nodes.Remove(3) };
        directory.Apply(left);
        var old = left.Nodes.Values.Append(new(new NodeId(3), "n3", "http://n3:1", MemberState.Member));
        directory.Learn(old.Select(static member => (member, "")));
        Assert.Equal([1, 2, 4], directory.Nodes.Select(static node => node.Node.Value));

        directory = Directory();
        directory.Apply(left); // It begins with a snapshot.
        Assert.Equal([1, 2, 4], directory.Nodes.Select(static node => node.Node.Value));
    }

    private static string? Where(NodeDirectory directory, NodeId node) => directory.Find(node)?.Address.ToString();

    private static NodeDirectory Directory() => new(new ClusterOptions
    {
        NodeName = "n1",
        NodeId = new NodeId(1),
        DataDirectory = "/data",
        Nodes =
        [
            .. Enumerable.Range(1, 3).Select(static id =>
                new PeerEndpoint(new NodeId(id), $"n{id}", new Uri($"http://n{id}:1"))),
        ],
    });

    private static ClusterMembers Members(string addressOfTwo) => ClusterMembers.Empty with
    {
        Nodes = Enumerable.Range(1, 3).ToImmutableSortedDictionary(
            static id => id,
            id => new ClusterMember(
                new NodeId(id), $"n{id}", id == 2 ? addressOfTwo : $"http://n{id}:1", MemberState.Member)),
        Founders = [1, 2, 3],
        LastId = 3,
    };

    private static ClusterMembers With(NodeId node, MemberState state) => Members("http://n2:1") with
    {
        Nodes = Members("http://n2:1").Nodes.Add(
            node.Value, new ClusterMember(node, $"n{node}", $"http://n{node}:1", state)),
        LastId = node.Value,
    };

    /// <summary>Node 1 is a controller, 2 has both roles, 3 is a data node.</summary>
    private static ClusterMembers WithRoles((int Id, NodeRoles Roles, MemberState State) other) =>
        ClusterMembers.Empty with
        {
            Nodes = new (int Id, NodeRoles Roles, MemberState State)[]
            {
                (1, NodeRoles.Controller, MemberState.Member),
                (2, NodeRoles.Both, MemberState.Member),
                (3, NodeRoles.Data, MemberState.Member),
                other,
            }.ToImmutableSortedDictionary(
                static each => each.Id,
                static each => new ClusterMember(new NodeId(each.Id), $"n{each.Id}", $"http://n{each.Id}:1", each.State)
                {
                    Roles = each.Roles,
                }),
            Founders = [1, 2, 3],
            LastId = other.Id,
        };

    private static GroupConfiguration[] Groups(string metadata, string others) =>
        [Configuration(metadata), Configuration(others), Configuration(others)];

    private static IEnumerable<string> Wanted(MembershipPlan plan) => Enumerable.Range(0, 3).Select(
        at => $"{Text(plan.MembersOf(at).Voters)} + {Text(plan.MembersOf(at).Learners)}");

    private static MemberState OutcomeOf(ClusterMembers members, GroupConfiguration[] groups) =>
        new MembershipPlan(members, groups).OutcomeOf(members.Changing!, static _ => true);

    private static GroupConfiguration Configuration(string voters, string learners) => new(
        new LogIndex(1),
        voters.Split(' ').Select(static voter => new NodeId(int.Parse(voter))),
        learners.Split(' ').Select(static learner => new NodeId(int.Parse(learner))));

    private static MembershipPlan Plan(ClusterMembers members, params string[] groups) =>
        new(members, [.. groups.Select(Configuration)]);

    private static IEnumerable<string> Wanted(ClusterMembers members, params string[] groups)
    {
        var plan = Plan(members, groups);
        return Enumerable.Range(0, groups.Length).Select(at => Text(plan.VotersOf(at)));
    }

    private static MemberState Outcome(ClusterMembers members, params string[] groups) =>
        Plan(members, groups).OutcomeOf(members.Find(Four)!, static _ => true);

    private static GroupConfiguration Configuration(string voters) =>
        new(new LogIndex(1), voters.Split(' ').Select(static voter => new NodeId(int.Parse(voter))), []);

    private static string Text(IEnumerable<NodeId> voters) => string.Join(' ', voters);
}
