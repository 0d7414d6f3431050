using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>Raft thesis 6.4.</summary>
public sealed class ReadRoundsTests
{
    private readonly ReadRounds _reads = new();

    [Fact]
    public void First_read_asks_for_a_round_and_those_that_follow_it_share_that()
    {
        Assert.False(_reads.IsDue);
        Add(1, 2);
        Assert.True(_reads.IsDue);

        _reads.Begin();
        Assert.Equal((false, 1L, 1L), (_reads.IsDue, _reads.Begun, _reads.UnderWay));
        _reads.Confirm(1);

        Assert.Equal([1, 2], Answered());
        Assert.Equal(0, _reads.UnderWay);
    }

    /// <summary>The heartbeats of a round may have left before the read came: they confirm nothing for it.</summary>
    [Fact]
    public void Read_that_comes_while_a_round_is_under_way_waits_for_the_next()
    {
        Add(1);
        _reads.Begin();
        Add(2);
        Assert.False(_reads.IsDue);

        _reads.Confirm(1);
        Assert.Equal([1], Answered());
        Assert.True(_reads.IsDue);

        _reads.Begin();
        _reads.Confirm(2);
        Assert.Equal([2], Answered());
        Assert.False(_reads.IsDue);
    }

    [Fact]
    public void Later_round_confirms_earlier_reads()
    {
        Add(1);
        _reads.Begin();
        _reads.Begin();

        _reads.Confirm(2);

        Assert.Equal([1], Answered());
    }

    [Fact]
    public void Read_keeps_the_index_that_it_came_with()
    {
        _reads.Add(7, new LogIndex(40));
        _reads.Begin();
        _reads.Confirm(1);

        Assert.Equal([new ReadResult(7, new LogIndex(40), Refused: false)], _reads.Take([]));
        Assert.False(_reads.HasResults);
    }

    [Fact]
    public void Waiting_reads_are_refused_when_the_leader_goes()
    {
        Add(1, 2);

        _reads.RefuseAll();

        Assert.Equal((0, false), (_reads.WaitingCount, _reads.IsDue));
        Assert.All(_reads.Take([]), result => Assert.Equal((true, LogIndex.None), (result.Refused, result.Index)));
    }

    private void Add(params int[] contexts) =>
        Array.ForEach(contexts, context => _reads.Add(context, new LogIndex(context)));

    private List<long> Answered() => [.. _reads.Take([]).Select(result => result.Context)];
}
