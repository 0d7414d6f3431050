using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>Leader 1 of voters 1 to 3 or 5 and learner 9; it has entries up to 20.</summary>
public sealed class FollowerTableTests
{
    private static readonly NodeId One = new(1);
    private static readonly LogIndex Last = new(20);

    private readonly FollowerTable _table = new(
        One, new RaftTimes(new RaftOptions { Id = One, Voters = [One] }));

    [Fact]
    public void Followers_are_the_members_without_the_leader()
    {
        Adopt(voters: 3);

        Assert.Equal([(2, true), (3, true), (9, false)], Members());
        Assert.Equal(21, _table.Find(new NodeId(3))!.NextIndex.Value);
        Assert.Null(_table.Find(One));
    }

    [Fact]
    public void Who_stays_keeps_its_progress_and_who_goes_is_forgotten()
    {
        Adopt(voters: 3);
        Match(2, 15);
        Match(9, 17);

        _table.Adopt(new GroupConfiguration(new LogIndex(21), Nodes(1, 2, 9), []), new LogIndex(22), nowMs: 50);

        Assert.Equal([(2, true), (9, true)], Members());
        Assert.Equal(15, _table.Find(new NodeId(2))!.MatchIndex.Value);
        Assert.Equal(17, _table.Find(new NodeId(9))!.MatchIndex.Value);
    }

    [Fact]
    public void Majority_has_flushed_what_the_leader_and_one_of_two_followers_have()
    {
        Adopt(voters: 3);
        Match(2, 15);
        Assert.Equal(15, Flushed(own: 18));
        Assert.Equal(12, Flushed(own: 12));
        Assert.Equal(0, Flushed(own: 0));

        Match(3, 17);

        Assert.Equal(17, Flushed(own: 18));
        Assert.Equal(15, Flushed(own: 0));
    }

    [Fact]
    public void Learner_does_not_count_to_the_majority()
    {
        Adopt(voters: 3);
        Match(9, 20);

        Assert.Equal(0, Flushed(own: 20));
    }

    /// <summary>Raft thesis 4.2.2.</summary>
    [Fact]
    public void Leader_that_is_no_voter_does_not_count_itself()
    {
        _table.Adopt(new GroupConfiguration(new LogIndex(20), Nodes(2, 3), []), Last.Next(), nowMs: 0);
        Match(2, 15);

        Assert.Equal(0, Flushed(own: 20));
        Match(3, 13);
        Assert.Equal(13, Flushed(own: 20));
    }

    /// <summary>By the definition, in any configuration: the highest index that most of the voters have.</summary>
    [Fact]
    public void Majority_is_one_of_the_voters_in_any_configuration()
    {
        var random = new Random(9);
        for (var round = 0; round < 1_000; round++)
        {
            var members = Enumerable.Range(1, random.Next(2, 9)).OrderBy(_ => random.Next()).ToArray();
            var voters = members[..random.Next(1, members.Length)];
            _table.Clear();
            _table.Adopt(
                new GroupConfiguration(LogIndex.None, Nodes(voters), Nodes([.. members.Except(voters)])),
                Last.Next(),
                nowMs: 0);
            var flushed = members.ToDictionary(node => node, _ => random.Next(21));
            foreach (var node in members.Where(node => node != One.Value))
            {
                Match(node, flushed[node]);
            }

            var expected = Enumerable.Range(0, 21)
                .Last(index => 2 * voters.Count(voter => flushed[voter] >= index) > voters.Length);
            Assert.Equal(expected, Flushed(flushed[One.Value]));
        }
    }

    [Fact]
    public void Round_of_reads_is_confirmed_by_a_majority_of_voters()
    {
        Adopt(voters: 5);
        Confirm(2, 7);
        Confirm(9, 7);
        Assert.Equal(0, _table.RoundOfMajority(begunRound: 7));

        Confirm(3, 6);

        Assert.Equal(6, _table.RoundOfMajority(begunRound: 7));
    }

    [Fact]
    public void Leader_hears_a_majority_while_enough_voters_answered_within_the_longest_timeout()
    {
        Adopt(voters: 5);
        Assert.True(_table.HearsMajority(nowMs: 999));
        Assert.False(_table.HearsMajority(nowMs: 1_000));
        Answer(9, nowMs: 1_000);
        Answer(2, nowMs: 1_000);
        Assert.False(_table.HearsMajority(nowMs: 1_000));

        Answer(3, nowMs: 1_000);

        Assert.True(_table.HearsMajority(nowMs: 1_000));
    }

    [Fact]
    public void Voter_that_lost_its_log_is_not_heard()
    {
        Adopt(voters: 3);
        Answer(2, nowMs: 1_000);
        Assert.True(_table.HearsMajority(nowMs: 1_000));

        _table.HearOfLoss(_table.Find(new NodeId(2))!, number: 70, Last);

        Assert.False(_table.HearsMajority(nowMs: 1_000));
    }

    [Fact]
    public void Follower_is_caught_up_when_it_answers_and_has_what_had_committed()
    {
        Adopt(voters: 3);
        _table.HeartbeatCommitIndex = new LogIndex(15);
        var follower = _table.Find(new NodeId(2))!;
        Match(2, 14);
        Assert.False(_table.IsCaughtUp(follower, nowMs: 0));

        Match(2, 15);

        Assert.True(_table.IsCaughtUp(follower, nowMs: 499));
        Assert.False(_table.IsCaughtUp(follower, nowMs: 500));
        _table.HearOfLoss(follower, number: 70, Last);
        Assert.False(_table.IsCaughtUp(follower, nowMs: 0));
    }

    [Fact]
    public void Heir_is_the_voter_with_the_longest_flushed_log()
    {
        Adopt(voters: 3);
        Match(2, 12);
        Match(3, 14);
        Match(9, 20);

        Assert.Equal(3, _table.FurthestVoter().Id.Value);
    }

    [Fact]
    public void Report_of_a_loss_that_is_known_changes_nothing()
    {
        Adopt(voters: 3);
        var follower = _table.Find(new NodeId(2))!;
        _table.HearOfLoss(follower, number: 70, Last);
        follower.TryEndLoss(70, Last);
        Match(2, 18);

        _table.HearOfLoss(follower, number: 70, Last);
        Assert.Equal((true, 18), (follower.Loss is null, follower.MatchIndex.Value));

        _table.HearOfLoss(follower, number: 71, Last);
        Assert.Equal((71, 0), (follower.Loss!.Number, follower.MatchIndex.Value));
    }

    /// <summary>It was removed and added while it was lost: the leader still knows.</summary>
    [Fact]
    public void Loss_is_remembered_while_the_node_is_no_member()
    {
        Adopt(voters: 3);
        _table.HearOfLoss(_table.Find(new NodeId(3))!, number: 70, Last);
        _table.Adopt(new GroupConfiguration(new LogIndex(21), Nodes(1, 2), []), new LogIndex(22), nowMs: 0);
        _table.Adopt(new GroupConfiguration(new LogIndex(22), Nodes(1, 2), Nodes(3)), new LogIndex(23), nowMs: 0);

        Assert.Equal(70, _table.Find(new NodeId(3))!.Loss?.Number);
    }

    [Fact]
    public void Number_of_a_loss_that_is_over_is_not_taken_for_a_fence()
    {
        Adopt(voters: 3);
        var follower = _table.Find(new NodeId(2))!;
        _table.HearOfLoss(follower, number: 70, Last);
        follower.TryEndLoss(70, Last);

        _table.HearOfFence(follower, number: 70, Last);
        Assert.Equal(0, follower.FenceNumber);

        _table.HearOfFence(follower, number: 71, Last);
        Assert.Equal((71, Last), (follower.FenceNumber, follower.FenceEnd));
    }

    [Fact]
    public void No_more_losses_are_remembered_than_a_group_has_members()
    {
        for (var node = 2; node < 2 + GroupConfiguration.MaxMembers + 1; node++)
        {
            _table.Adopt(new GroupConfiguration(new LogIndex(node), Nodes(1), Nodes(node)), Last, nowMs: 0);
            _table.HearOfLoss(_table.Find(new NodeId(node))!, number: node, Last);
        }

        _table.Adopt(new GroupConfiguration(new LogIndex(99), Nodes(1), Nodes(2, 3)), Last, nowMs: 0);
        Assert.Null(_table.Find(new NodeId(2))!.Loss);
        Assert.NotNull(_table.Find(new NodeId(3))!.Loss);
    }

    private static IEnumerable<NodeId> Nodes(params int[] nodes) => nodes.Select(node => new NodeId(node));

    private void Adopt(int voters) => _table.Adopt(
        new GroupConfiguration(LogIndex.None, Nodes([.. Enumerable.Range(1, voters)]), Nodes(9)),
        Last.Next(),
        nowMs: 0);

    private void Match(int node, int index) => _table.Find(new NodeId(node))!.TryAdvance(new LogIndex(index));

    private void Confirm(int node, long round) => _table.Find(new NodeId(node))!.ConfirmedRound = round;

    private void Answer(int node, long nowMs) => _table.Find(new NodeId(node))!.LastContactMs = nowMs;

    private long Flushed(int own) => _table.FlushedByMajority(new LogIndex(own)).Value;

    private List<(int Node, bool IsVoter)> Members()
    {
        var members = new List<(int Node, bool IsVoter)>();
        foreach (var follower in _table)
        {
            members.Add((follower.Id.Value, follower.IsVoter));
        }

        return members;
    }
}
