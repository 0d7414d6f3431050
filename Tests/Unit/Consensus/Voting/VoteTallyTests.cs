using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

public sealed class VoteTallyTests
{
    private static readonly GroupConfiguration Five =
        new(LogIndex.None, Enumerable.Range(1, 5).Select(id => new NodeId(id)), [new NodeId(6)]);

    private readonly VoteTally _votes = new();

    [Fact]
    public void Election_is_won_with_the_third_of_five_votes()
    {
        Count(true, 1, 4);
        Assert.False(_votes.IsWon(Five));

        Count(true, 5);

        Assert.True(_votes.IsWon(Five));
        Assert.False(_votes.IsLost(Five));
    }

    [Fact]
    public void Election_is_lost_when_those_that_are_left_are_no_majority()
    {
        Count(false, 1, 2);
        Assert.False(_votes.IsLost(Five));

        Count(false, 3);

        Assert.True(_votes.IsLost(Five));
    }

    [Fact]
    public void Election_of_four_is_lost_with_the_second_refusal()
    {
        var four = new GroupConfiguration(LogIndex.None, Five.Voters.Take(4), []);
        _votes.Count(four, new NodeId(2), granted: false);
        Assert.False(_votes.IsLost(four));

        _votes.Count(four, new NodeId(4), granted: false);

        Assert.True(_votes.IsLost(four));
    }

    [Fact]
    public void Answer_that_comes_twice_counts_once()
    {
        Count(true, 2, 2, 2, 2);

        Assert.False(_votes.IsWon(Five));
    }

    [Fact]
    public void Learners_and_strangers_do_not_count()
    {
        Count(true, 1, 2, 6, 7);
        Count(false, 3, 4, 6, 7);

        Assert.False(_votes.IsWon(Five));
        Assert.False(_votes.IsLost(Five));
    }

    [Fact]
    public void Next_election_begins_without_votes()
    {
        Count(true, 1, 2, 3);
        Count(false, 3, 4, 5);

        _votes.Clear();

        Assert.False(_votes.IsWon(Five));
        Assert.False(_votes.IsLost(Five));
    }

    private void Count(bool granted, params int[] nodes) =>
        Array.ForEach(nodes, node => _votes.Count(Five, new NodeId(node), granted));
}
