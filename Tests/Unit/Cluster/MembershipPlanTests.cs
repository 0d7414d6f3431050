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
        directory.Apply(Members("http://n2:1"));
        Assert.Equal([1, 2, 3, 9], directory.Nodes.Select(static node => node.Node.Value));
        Assert.Equal([4], changes);
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
