using System.Collections.Immutable;
using Broker.Cluster;
using Broker.ClusterState;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Cluster;

/// <summary>Which data nodes are to vote in which shard, and what follows for the groups.</summary>
public sealed class PlacementPlanTests
{
    private const int Shards = 6;

    [Fact]
    public void All_vote_everywhere_until_an_operator_says_otherwise_and_again_when_he_says_so()
    {
        var members = Members(5);
        Assert.Null(PlacementPlan.Next(members, Shards));
        members = Settle(members with { ShardVoters = 3 });
        Assert.Equal(Shards, members.Placements.Count);
        members = Settle(members with { ShardVoters = 0 });
        Assert.Empty(members.Placements);
    }

    [Theory]
    [InlineData(3, 3)]
    [InlineData(4, 3)]
    [InlineData(5, 3)]
    [InlineData(7, 3)]
    [InlineData(7, 5)]
    [InlineData(2, 3)]
    public void Shards_are_spread_evenly_and_so_are_their_leaders(int nodes, int voters)
    {
        var members = Settle(Members(nodes) with { ShardVoters = voters });
        AssertEven(members);
        var leaders = LeaderBalancer.OfPlaced(members);
        Assert.All(leaders, each => Assert.Contains(each.Value.Value, members.Placements[each.Key]));
        int[] leads = [.. members.Nodes.Keys.Select(node => leaders.Values.Count(leader => leader.Value == node))];
        Assert.Equal(Shards, leads.Sum());
        Assert.InRange(leads.Max() - leads.Min(), 0, 1);
    }

    [Fact]
    public void A_node_that_comes_takes_its_part_one_node_of_one_shard_at_a_time()
    {
        var members = Settle(Members(3) with { ShardVoters = 3 });
        members = With(members, 4, MemberState.Member);
        var moves = 0;
        while (PlacementPlan.Next(members, Shards) is { } move)
        {
            Assert.False(move.IsUrgent);
            var before = members.Placements[move.Shard.Value];
            Assert.Equal([4], move.Voters.Except(before));
            Assert.Single(before.Except(move.Voters));
            members = Place(members, move);
            moves++;
        }

        // Eighteen votes among four: four or five each.
        Assert.Equal(4, moves);
        AssertEven(members);
    }

    [Fact]
    public void One_that_joins_has_no_part_yet_and_one_that_goes_is_replaced_at_once()
    {
        var members = Settle(Members(4) with { ShardVoters = 3 });
        Assert.Null(PlacementPlan.Next(With(members, 5, MemberState.Joining), Shards));
        foreach (var state in new[] { MemberState.Leaving, MemberState.Evicting })
        {
            var going = With(members, 4, state);
            while (PlacementPlan.Next(going, Shards) is { } move)
            {
                Assert.True(move.IsUrgent);
                Assert.Equal([4], going.Placements[move.Shard.Value].Except(move.Voters));
                Assert.Equal(3, move.Voters.Count);
                going = Place(going, move);
            }

            Assert.All(going.Placements.Values, static voters => Assert.Equal([1, 2, 3], voters));
        }
    }

    [Fact]
    public void With_nobody_to_replace_it_a_shard_has_fewer_voters_and_gets_more_when_there_are_more()
    {
        var members = Settle(With(Settle(Members(3) with { ShardVoters = 3 }), 3, MemberState.Leaving));
        Assert.All(members.Placements.Values, static voters => Assert.Equal([1, 2], voters));
        members = Settle(With(members, 4, MemberState.Member));
        Assert.All(members.Placements.Values, static voters => Assert.Equal([1, 2, 4], voters));

        // The last one stays, whatever it is about to do.
        members = Members(1) with { ShardVoters = 3, Placements = members.Placements.SetItem(1, [1]) };
        Assert.Null(PlacementPlan.Next(With(members, 1, MemberState.Evicting), 1));
    }

    [Fact]
    public void Controllers_have_no_part_and_one_that_drains_is_taken_last()
    {
        var members = Members(5) with { ShardVoters = 3 };
        members = members with
        {
            Nodes = members.Nodes
                .SetItem(1, members.Nodes[1] with { Roles = NodeRoles.Controller })
                .SetItem(2, members.Nodes[2] with { IsDraining = true }),
        };
        Assert.Equal([3, 4, 5], PlacementPlan.Next(members, Shards)!.Voters);
        Assert.DoesNotContain(Settle(members).Placements.Values, static voters => voters.Contains(1));
    }

    [Fact]
    public void Where_all_that_vote_drain_one_gives_its_vote_to_a_node_that_can_lead()
    {
        var members = Draining(Members(5) with { ShardVoters = 3 }, 1, 2, 3);
        members = members with { Placements = members.Placements.Add(1, [1, 2, 3]).Add(2, [1, 3, 4, 5]) };
        var move = PlacementPlan.Next(members, 2)!;
        Assert.Equal((1, true), (move.Shard.Value, move.IsUrgent));
        Assert.Contains(move.Voters, static voter => voter > 3);
        Assert.Equal(3, move.Voters.Count);

        // The second is to have one less, which is none of those that can lead.
        Assert.Superset(new HashSet<int> { 4, 5 }, Settle(members, 2).Placements[2].ToHashSet());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(1, 2, 3)]
    [InlineData(2, 3, 4, 5)]
    [InlineData(1, 2, 3, 4, 5)]
    public void Each_shard_keeps_a_voter_that_can_lead_while_there_is_one(params int[] draining)
    {
        for (var voters = 1; voters <= 5; voters++)
        {
            var settled = Settle(Members(5) with { ShardVoters = voters });
            var drained = Settle(Draining(settled, draining));
            Assert.All(drained.Placements.Values, each => Assert.True(
                draining.Length == 5 || each.Any(voter => !draining.Contains(voter))));
            Assert.All(Settle(drained with { ShardVoters = 3 }).Placements.Values, each => Assert.True(
                each.Count == 3 && (draining.Length == 5 || each.Any(voter => !draining.Contains(voter)))));
        }
    }

    [Fact]
    public void A_move_waits_until_the_shards_have_the_voters_that_were_named_before()
    {
        var members = Members(4) with { Placements = Members(1).Placements.Add(2, [1, 2, 4]) };
        GroupView metadata = View("1 2 3 4"), all = View("1 2 3 4");
        Assert.True(PlacementPlan.IsSettled(members, [metadata, all, View("1 2 4")]));
        Assert.True(PlacementPlan.IsSettled(members, [metadata, View("1"), View("1 2 4", "3")]));
        Assert.False(PlacementPlan.IsSettled(members, [metadata, all, all]));
        Assert.False(PlacementPlan.IsSettled(members, [metadata, all, View("1 2 3")]));
        Assert.False(PlacementPlan.IsSettled(members, [metadata, all, View("1 2 4") with { IsCommitted = false }]));
    }

    [Fact]
    public void Who_is_not_to_vote_in_a_shard_receives_its_log_and_goes_last()
    {
        var members = Members(4) with { Placements = Members(1).Placements.Add(2, [1, 2, 4]) };
        var plan = new MembershipPlan(members, [Of("1 2 3 4"), Of("1 2 3 4"), Of("1 2 3", "4")]);
        Assert.Equal(["1 2 3 4 + ", "1 2 3 4 + ", "1 2 4 + 3"], Wanted(plan));
        Assert.Equal([false, false, true], Enumerable.Range(0, 3).Select(at => plan.IsDue(at)));

        // It leads until those that are to vote do.
        Assert.False(PlacementPlan.MustHandOver(members, 2, new NodeId(3), Of("1 2 3", "4")));
        Assert.True(PlacementPlan.MustHandOver(members, 2, new NodeId(3), Of("1 2 3 4")));
        Assert.False(PlacementPlan.MustHandOver(members, 2, new NodeId(1), Of("1 2 3 4")));
        Assert.False(PlacementPlan.MustHandOver(members, 1, new NodeId(3), Of("1 2 3 4")));
    }

    [Fact]
    public void One_that_leaves_votes_until_another_one_was_named()
    {
        var members = With(Members(4), 3, MemberState.Leaving) with
        {
            Placements = Members(1).Placements.Add(1, [1, 2, 3]).Add(2, [1, 2, 4]),
        };
        GroupConfiguration[] groups = [Of("1 2 3 4"), Of("1 2 3", "4"), Of("1 2 4", "3")];
        Assert.Equal(["1 2 3 4 + ", "1 2 3 + 4", "1 2 4 + 3"], Wanted(new MembershipPlan(members, groups)));

        // Another one was named: it leaves that group, then the others, and the metadata last.
        members = members with { Placements = members.Placements.SetItem(1, [1, 2, 4]) };
        Assert.Equal(["1 2 3 4 + ", "1 2 4 + ", "1 2 4 + 3"], Wanted(new MembershipPlan(members, groups)));
        groups[1] = Of("1 2 4");
        Assert.Equal(["1 2 3 4 + ", "1 2 4 + ", "1 2 4 + "], Wanted(new MembershipPlan(members, groups)));
        groups[2] = Of("1 2 4");
        Assert.Equal(["1 2 4 + ", "1 2 4 + ", "1 2 4 + "], Wanted(new MembershipPlan(members, groups)));
        Assert.Equal(MemberState.Leaving, Outcome(members, groups));
        groups[0] = Of("1 2 4");
        Assert.Equal(MemberState.Left, Outcome(members, groups));
    }

    [Fact]
    public void One_that_joins_receives_the_shards_one_after_another_in_which_others_vote()
    {
        var members = With(Members(4), 5, MemberState.Joining) with
        {
            Placements = Members(1).Placements.Add(1, [1, 2, 3]).Add(2, [2, 3, 4]),
        };
        GroupConfiguration[] groups = [Of("1 2 3 4 5"), Of("1 2 3", "4"), Of("2 3 4", "1")];
        Assert.Equal(["1 2 3 4 5 + ", "1 2 3 + 4 5", "2 3 4 + 1"], Wanted(new MembershipPlan(members, groups)));
        groups[1] = Of("1 2 3", "4 5");
        Assert.Equal(["1 2 3 4 5 + ", "1 2 3 + 4 5", "2 3 4 + 1 5"], Wanted(new MembershipPlan(members, groups)));
        Assert.Equal(MemberState.Joining, Outcome(members, groups));
        groups[2] = Of("2 3 4", "1 5");
        Assert.Equal(MemberState.Member, Outcome(members, groups));
    }

    private static MemberState Outcome(ClusterMembers members, GroupConfiguration[] groups) =>
        new MembershipPlan(members, groups).OutcomeOf(members.Changing!, static _ => true);

    private static void AssertEven(ClusterMembers members)
    {
        int[] loads = [.. members.Nodes.Keys.Select(
            node => members.Placements.Values.Count(voters => voters.Contains(node)))];
        Assert.InRange(loads.Max() - loads.Min(), 0, 1);
        var count = Math.Min(members.ShardVoters, members.Nodes.Count);
        Assert.All(members.Placements.Values, voters => Assert.Equal(count, voters.Count));
    }

    private static ClusterMembers Members(int count) => ClusterMembers.Empty with
    {
        Nodes = Enumerable.Range(1, count).ToImmutableSortedDictionary(
            static id => id,
            static id => new ClusterMember(new NodeId(id), $"n{id}", $"http://n{id}:1", MemberState.Member)),
        LastId = count,
    };

    private static ClusterMembers With(ClusterMembers members, int id, MemberState state) => members with
    {
        Nodes = members.Nodes.SetItem(id, new ClusterMember(new NodeId(id), $"n{id}", $"http://n{id}:1", state)),
        LastId = Math.Max(members.LastId, id),
    };

    private static ClusterMembers Draining(ClusterMembers members, params int[] nodes) => members with
    {
        Nodes = nodes.Aggregate(
            members.Nodes, static (all, node) => all.SetItem(node, all[node] with { IsDraining = true })),
    };

    private static ClusterMembers Place(ClusterMembers members, PlacementMove move) => members with
    {
        Placements = move.Voters.IsEmpty
            ? members.Placements.Remove(move.Shard.Value)
            : members.Placements.SetItem(move.Shard.Value, move.Voters),
    };

    /// <summary>All moves, of which there is an end.</summary>
    private static ClusterMembers Settle(ClusterMembers members, int shards = Shards)
    {
        for (var left = 100; PlacementPlan.Next(members, shards) is { } move; left--)
        {
            Assert.NotEqual(0, left);
            members = Place(members, move);
        }

        return members;
    }

    private static IEnumerable<string> Wanted(MembershipPlan plan) => Enumerable.Range(0, 3).Select(
        at => $"{string.Join(' ', plan.MembersOf(at).Voters)} + {string.Join(' ', plan.MembersOf(at).Learners)}");

    private static GroupView View(string voters, string learners = "") => new(Of(voters, learners), IsCommitted: true);

    private static GroupConfiguration Of(string voters, string learners = "") => new(
        new LogIndex(1), Numbers(voters), Numbers(learners));

    private static IEnumerable<NodeId> Numbers(string text) => text
        .Split(' ', StringSplitOptions.RemoveEmptyEntries)
        .Select(static number => new NodeId(int.Parse(number)));
}
