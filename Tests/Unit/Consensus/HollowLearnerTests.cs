using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>A learner that does not keep what the entries say: nobody makes it a voter meanwhile.</summary>
public sealed class HollowLearnerTests
{
    private static readonly NodeId Four = new(4);

    private readonly Cluster _cluster = new(4, voters: 3);
    private readonly Replica _leader;

    public HollowLearnerTests()
    {
        _leader = _cluster.Elect(1);
        Assert.Equal(ProposeResult.Accepted, _leader.Change(MembershipChangeKind.AddLearner, 4));
        _cluster.Run(300);
    }

    private RaftNode Learner => _cluster[4].Node;

    [Fact]
    public void It_may_give_up_entries_when_its_leader_has_answered_and_not_before()
    {
        _cluster.Lose = static message => message.Kind == RaftMessageKind.HeartbeatResponse && message.From == Four;
        Learner.IsHollow = true;
        _cluster.Run(300);
        Assert.False(Learner.MayGiveUpEntries);

        _cluster.Lose = static _ => false;
        _cluster.Run(300);
        Assert.True(Learner.MayGiveUpEntries);
        Assert.True(_leader.Node.Followers.Single(static each => each.NodeId == Four) is { IsHollow: true });
        Assert.Equal(ProposeResult.InvalidChange, _leader.Change(MembershipChangeKind.Promote, 4));

        Learner.IsHollow = false;
        Assert.False(Learner.MayGiveUpEntries);
        _cluster.Run(300);
        Assert.Equal(ProposeResult.Accepted, _leader.Change(MembershipChangeKind.Promote, 4));
    }

    [Fact]
    public void The_word_of_a_leader_holds_for_its_term_and_for_the_number_that_it_heard()
    {
        Learner.IsHollow = true;
        _cluster.Run(300);
        Assert.True(Learner.MayGiveUpEntries);

        // Hollow anew: the leader may have made it a voter in between.
        Learner.IsHollow = false;
        Learner.IsHollow = true;
        Assert.False(Learner.MayGiveUpEntries);
        _cluster.Run(300);
        Assert.True(Learner.MayGiveUpEntries);

        _cluster[1].Crash();
        _cluster.Lose = static message => message.Kind == RaftMessageKind.Heartbeat && message.To == Four;
        _cluster.RunUntil(() => Learner.Term > new Term(1), "there is another leader");
        Assert.False(Learner.MayGiveUpEntries);
        _cluster.Lose = static _ => false;
        _cluster.RunUntil(() => Learner.MayGiveUpEntries, "the next leader knows it, too");
    }

    /// <summary>Until then an earlier leader may have made it a voter, by an entry that comes back.</summary>
    [Fact]
    public void A_leader_says_nothing_before_it_has_committed_in_its_term()
    {
        Learner.IsHollow = true;
        var told = new List<Term>();
        _cluster[1].Crash();
        _cluster.Lose = message =>
        {
            if (message is { Kind: RaftMessageKind.Heartbeat, Hollow: not 0 })
            {
                told.Add(message.Term);
            }

            return message.Kind == RaftMessageKind.AppendEntries && message.To != Four; // Nothing commits.
        };
        _cluster.RunUntil(() => _cluster.Leaders.Any(static each => each.Node.Term > new Term(1)), "another one leads");
        _cluster.Run(300);
        Assert.Empty(told);
        Assert.False(Learner.MayGiveUpEntries);

        _cluster.Lose = static _ => false;
        _cluster.RunUntil(() => Learner.MayGiveUpEntries, "it is told when that has committed");
    }

    /// <summary>A leader that has heard nothing of a learner yet takes it for hollow.</summary>
    [Fact]
    public void A_new_leader_makes_nobody_a_voter_before_it_has_heard_of_it()
    {
        Learner.IsHollow = true;
        _cluster.Run(300);
        _cluster.Lose = static message => message.Kind == RaftMessageKind.HeartbeatResponse && message.From == Four;
        _cluster[1].Crash();
        _cluster.RunUntil(() => _cluster.Leaders.Any(static each => each.Node.Term > new Term(1)), "another one leads");
        _cluster.Run(300);
        var leader = _cluster.Leaders.Single();
        Assert.True(leader.Node.Followers.Single(static each => each.NodeId == Four) is { IsHollow: true });
        Assert.Equal(ProposeResult.InvalidChange, leader.Change(MembershipChangeKind.Promote, 4));
    }
}
