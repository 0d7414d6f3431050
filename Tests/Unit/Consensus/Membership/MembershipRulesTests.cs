using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>Leader 1 of voters 1, 2, 3 and learner 4; the configuration is entry 5, and entry 9 comes next.</summary>
public sealed class MembershipRulesTests
{
    private static readonly NodeId One = new(1);
    private static readonly LogIndex At = new(9);

    private readonly FollowerTable _followers = new(
        One, new RaftTimes(new RaftOptions { Id = One, Voters = [One] }));

    private int _committed = 8;
    private bool _hasCommittedInTerm = true;
    private long _nowMs;

    public MembershipRulesTests() => Adopt([1, 2, 3], [4]);

    [Fact]
    public void Stranger_becomes_a_learner() =>
        Assert.Equal("1 2 3 learners 4 5 at 9", After(MembershipChangeKind.AddLearner, 5));

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(4)]
    public void Member_or_no_node_does_not_become_a_learner(int node) =>
        Refused(ProposeResult.InvalidChange, MembershipChangeKind.AddLearner, node);

    [Fact]
    public void Learner_that_lost_its_log_is_made_one_anew()
    {
        Lose(4);

        Assert.Equal("1 2 3 learners 4 at 9", After(MembershipChangeKind.AddLearner, 4));
    }

    [Fact]
    public void Voter_that_lost_its_log_is_removed_before_it_is_added()
    {
        Lose(3);

        Refused(ProposeResult.InvalidChange, MembershipChangeKind.AddLearner, 3);
        Assert.Equal("1 2 learners 4 at 9", After(MembershipChangeKind.Remove, 3));
    }

    [Fact]
    public void Full_group_takes_nobody_more()
    {
        Adopt([1], Enumerable.Range(2, GroupConfiguration.MaxMembers - 1));

        Refused(ProposeResult.InvalidChange, MembershipChangeKind.AddLearner, 99);
    }

    [Fact]
    public void Learner_is_promoted_when_it_has_caught_up()
    {
        _followers.HeartbeatCommitIndex = new LogIndex(8);
        Refused(ProposeResult.InvalidChange, MembershipChangeKind.Promote, 4);

        // It may be hollow until it has said that it is not.
        var learner = _followers.Find(new NodeId(4))!;
        learner.TryAdvance(new LogIndex(8));
        Refused(ProposeResult.InvalidChange, MembershipChangeKind.Promote, 4);
        learner.Hollow = 7;
        Refused(ProposeResult.InvalidChange, MembershipChangeKind.Promote, 4);
        learner.Hollow = 0;

        Assert.Equal("1 2 3 4 at 9", After(MembershipChangeKind.Promote, 4));
    }

    [Theory]
    [InlineData(2)]
    [InlineData(9)]
    public void Only_a_learner_is_promoted(int node) =>
        Refused(ProposeResult.InvalidChange, MembershipChangeKind.Promote, node);

    [Theory]
    [InlineData(4, "1 2 3 at 9")]
    [InlineData(3, "1 2 learners 4 at 9")]
    [InlineData(1, "2 3 learners 4 at 9")]
    public void Voter_learner_and_leader_are_removed(int node, string after) =>
        Assert.Equal(after, After(MembershipChangeKind.Remove, node));

    [Fact]
    public void Stranger_and_last_voter_are_not_removed()
    {
        Refused(ProposeResult.InvalidChange, MembershipChangeKind.Remove, 9);
        Adopt([1], [4]);

        Refused(ProposeResult.InvalidChange, MembershipChangeKind.Remove, 1);
    }

    [Fact]
    public void Voter_is_not_removed_when_too_few_of_the_others_answer()
    {
        _nowMs = 500;
        _followers.Find(new NodeId(3))!.LastContactMs = 500;

        Refused(ProposeResult.InvalidChange, MembershipChangeKind.Remove, 1);
        Refused(ProposeResult.InvalidChange, MembershipChangeKind.Remove, 3);
        Assert.Equal("1 3 learners 4 at 9", After(MembershipChangeKind.Remove, 2));
    }

    [Fact]
    public void Voter_is_not_removed_when_the_others_have_lost_their_logs()
    {
        Lose(2);

        Refused(ProposeResult.InvalidChange, MembershipChangeKind.Remove, 3);
    }

    /// <summary>Raft thesis 4.1: one change at a time.</summary>
    [Fact]
    public void Change_waits_until_the_one_before_has_committed()
    {
        _committed = 4;
        Refused(ProposeResult.ChangeInProgress, MembershipChangeKind.AddLearner, 5);

        _committed = 5;

        Assert.Equal("1 2 3 learners 4 5 at 9", After(MembershipChangeKind.AddLearner, 5));
    }

    /// <summary>Ongaro, raft-dev of 10 July 2015.</summary>
    [Fact]
    public void Change_waits_until_an_entry_of_the_leaders_term_has_committed()
    {
        _hasCommittedInTerm = false;

        Refused(ProposeResult.NotReady, MembershipChangeKind.AddLearner, 5);
    }

    private void Adopt(IEnumerable<int> voters, IEnumerable<int> learners) => _followers.Adopt(
        new GroupConfiguration(
            new LogIndex(5), voters.Select(node => new NodeId(node)), learners.Select(node => new NodeId(node))),
        new LogIndex(6),
        nowMs: 0);

    private void Lose(int node) =>
        _followers.HearOfLoss(_followers.Find(new NodeId(node))!, number: 70, new LogIndex(8));

    private string After(MembershipChangeKind kind, int node)
    {
        Assert.Equal(ProposeResult.Accepted, Apply(kind, node, out var next));
        return next.ToString();
    }

    private void Refused(ProposeResult result, MembershipChangeKind kind, int node)
    {
        Assert.Equal(result, Apply(kind, node, out var next));
        Assert.Same(_followers.Configuration, next);
    }

    private ProposeResult Apply(MembershipChangeKind kind, int node, out GroupConfiguration next) =>
        new MembershipRules(_followers, new LogIndex(_committed), _hasCommittedInTerm, _nowMs)
            .Apply(new MembershipChange(kind, new NodeId(node)), At, out next);
}
