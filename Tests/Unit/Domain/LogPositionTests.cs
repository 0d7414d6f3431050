using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Domain;

/// <summary>
/// Raft thesis 3.6.1: "If the logs have last entries with different terms, then the log with the later term is more
/// up-to-date. If the logs end with the same term, then whichever log is longer is more up-to-date."
/// </summary>
public sealed class LogPositionTests
{
    [Theory]
    [InlineData(1, 2, 9, 1)]
    [InlineData(2, 2, 1, 2)]
    [InlineData(1, 1, 0, 0)]
    public void The_later_term_comes_first_then_the_longer_log(long index, long term, long otherIndex, long otherTerm)
    {
        var newer = At(index, term);
        var older = At(otherIndex, otherTerm);

        Assert.True(newer > older && newer >= older && older < newer && older <= newer);
        Assert.False(newer < older || newer <= older || older > newer || older >= newer);
        Assert.True(newer.CompareTo(older) > 0 && older.CompareTo(newer) < 0);
    }

    [Fact]
    public void Equal_positions_are_neither_before_nor_after_each_other()
    {
        var one = At(5, 3);
        var same = At(5, 3);

        Assert.True(one >= same && one <= same && one == same);
        Assert.False(one > same || one < same);
    }

    [Fact]
    public void Nothing_comes_before_the_first_entry()
    {
        Assert.Equal(At(0, 0), LogPosition.None);
        Assert.True(LogPosition.None < At(1, 1));
        Assert.Equal("5/3", At(5, 3).ToString());
    }

    private static LogPosition At(long index, long term) => new(new LogIndex(index), new Term(term));
}
