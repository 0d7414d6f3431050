using System.Collections.Immutable;
using Broker.Cluster;
using Broker.ClusterState;
using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Cluster;

/// <summary>Who is evicted, who comes back, and when neither.</summary>
public sealed class EvictionWatchTests
{
    private const int EvictAfterMs = 10_000;
    private const int StepMs = 500;

    private static readonly NodeId One = new(1);

    private readonly EvictionWatch _watch = new(One, TimeSpan.FromMilliseconds(EvictAfterMs));
    private readonly HashSet<int> _dead = [];
    private ClusterMembers _members = Members(4);
    private string[] _groups = ["1 2 3 4", "1 2 3 4"];
    private Term _term = new(3);
    private long _nowMs = 1_000_000;

    [Fact]
    public void A_member_is_evicted_when_it_has_been_silent_for_long_enough()
    {
        Assert.Null(Run(60_000));
        _dead.Add(4);
        Assert.Null(Run(EvictAfterMs - StepMs));
        Assert.Equal((new NodeId(4), MemberState.Evicting), Run(StepMs));

        // A word from it, and all begins anew.
        _dead.Remove(4);
        Assert.Null(Run(StepMs));
        _dead.Add(4);
        Assert.Null(Run(EvictAfterMs - StepMs));
        Assert.Equal((new NodeId(4), MemberState.Evicting), Run(StepMs));
    }

    [Fact]
    public void Silence_does_not_count_before_this_node_led_nor_while_it_did_nothing_itself()
    {
        _dead.Add(4);
        Assert.Null(Run(EvictAfterMs - StepMs));
        _term = new(4);
        Assert.Null(Run(EvictAfterMs));
        _nowMs += 60_000;
        Assert.Null(Run(EvictAfterMs));
        Assert.NotNull(Run(StepMs));
    }

    [Fact]
    public void Nobody_is_evicted_whom_a_shard_cannot_spare()
    {
        _dead.Add(4);
        _groups = ["1 2 3 4", "2 3 4"];
        Assert.Null(Run(2 * EvictAfterMs));

        // Five, of which three are silent: the four others would not have a majority that lives.
        _members = Members(5);
        _groups = ["1 2 3 4 5", "1 2 3 4 5"];
        _dead.UnionWith([3, 5]);
        Assert.Null(Run(StepMs));
        Assert.Null(Run(2 * EvictAfterMs));

        // With two, one goes, then the other.
        _dead.Remove(5);
        Assert.Equal((new NodeId(4), MemberState.Evicting), Run(StepMs));
        _members = With(4, MemberState.Evicting);
        Assert.Null(Run(StepMs));
        _members = With(4, MemberState.Evicted);
        _groups = ["1 2 3 5", "1 2 3 5"];
        Assert.Equal((new NodeId(3), MemberState.Evicting), Run(StepMs));
    }

    [Fact]
    public void One_that_drains_is_not_evicted_and_nobody_is_where_that_is_off()
    {
        _dead.Add(4);
        _members = _members with
        {
            Nodes = _members.Nodes.SetItem(4, _members.Nodes[4] with { IsDraining = true }),
        };
        Assert.Null(Run(2 * EvictAfterMs));
        _members = Members(4);
        Assert.NotNull(Run(StepMs));
        Assert.Null(Look(new EvictionWatch(One, evictAfter: null)));
        _nowMs += StepMs;
    }

    [Fact]
    public void One_that_joins_and_falls_silent_makes_way_for_others()
    {
        _members = With(4, MemberState.Joining);
        _groups = ["1 2 3 4", "1 2 3"];
        _dead.UnionWith([2, 3, 4]);
        Assert.Null(Run(2 * EvictAfterMs));
        _dead.Remove(3);
        Assert.Equal((new NodeId(4), MemberState.Evicting), Run(StepMs));
        _members = With(4, MemberState.Leaving);
        Assert.Null(Run(2 * EvictAfterMs));
    }

    [Fact]
    public void One_that_was_evicted_is_back_when_it_has_been_heard_for_a_while_and_nobody_else_is_on_the_way()
    {
        _dead.Add(4);
        _members = With(4, MemberState.Evicted);
        _groups = ["1 2 3", "1 2 3"];
        Assert.Null(Run(2 * EvictAfterMs));
        _dead.Clear();
        Assert.Null(Run(1_500));
        _dead.Add(4);
        Assert.Null(Run(StepMs));
        _dead.Clear();
        Assert.Null(Run(2_000));
        var returning = _members;
        _members = _members with
        {
            Nodes = _members.Nodes.SetItem(3, _members.Nodes[3] with { State = MemberState.Leaving }),
        };
        Assert.Null(Run(StepMs));
        _members = returning;
        Assert.Equal((new NodeId(4), MemberState.Joining), Run(StepMs));
    }

    [Fact]
    public void One_of_three_voters_is_evicted_when_somebody_else_can_vote_in_its_place()
    {
        _dead.Add(4);
        _groups = ["1 2 3 4", "2 3 4"];
        _members = _members with { ShardVoters = 3, Placements = _members.Placements.Add(1, [2, 3, 4]) };
        Assert.Null(Run(EvictAfterMs));
        Assert.Equal((new NodeId(4), MemberState.Evicting), Run(StepMs));

        // The only other one cannot vote there.
        var controller = _members.Nodes[1] with { Roles = NodeRoles.Controller };
        _members = _members with { Nodes = _members.Nodes.SetItem(1, controller) };
        Assert.Null(Run(StepMs));
    }

    private static ClusterMembers Members(int count) => ClusterMembers.Empty with
    {
        Nodes = Enumerable.Range(1, count).ToImmutableSortedDictionary(
            static id => id,
            static id => new ClusterMember(new NodeId(id), $"n{id}", $"http://n{id}:1", MemberState.Member)),
        LastId = count,
    };

    private ClusterMembers With(int id, MemberState state) => _members with
    {
        Nodes = _members.Nodes.SetItem(id, _members.Nodes[id] with { State = state }),
    };

    /// <summary>Looks on and on; what the last look says, and nothing is said before.</summary>
    private (NodeId Node, MemberState State)? Run(int lengthMs)
    {
        for (var leftMs = lengthMs; ; leftMs -= StepMs)
        {
            _nowMs += StepMs;
            var answer = Look(_watch);
            if (leftMs <= StepMs)
            {
                return answer;
            }

            Assert.Null(answer);
        }
    }

    private (NodeId Node, MemberState State)? Look(EvictionWatch watch) => watch.Look(
        _members,
        _term,
        [.. _members.Nodes.Keys.Where(static id => id != 1).Select(id => new FollowerProgress(
            new NodeId(id), new LogIndex(9), new LogIndex(10), RecentlyActive: !_dead.Contains(id), IsLearner: false,
            IsLost: false, IsCaughtUp: !_dead.Contains(id), IsHampered: false))],
        [.. _groups.Select(static group => new GroupConfiguration(
            new LogIndex(1), group.Split(' ').Select(static voter => new NodeId(int.Parse(voter))), []))],
        _nowMs);
}
