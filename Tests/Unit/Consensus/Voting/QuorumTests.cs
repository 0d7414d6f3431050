using Broker.Consensus;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

public sealed class QuorumTests
{
    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 2)]
    [InlineData(3, 2)]
    [InlineData(4, 3)]
    [InlineData(5, 3)]
    public void Majority_is_more_than_half(int voters, int majority) =>
        Assert.Equal(majority, Quorum.Majority(voters));

    [Fact]
    public void Two_majorities_have_a_voter_in_common() =>
        Assert.All(Enumerable.Range(1, 32), voters => Assert.True(2 * Quorum.Majority(voters) > voters));

    [Theory]
    [InlineData(new long[] { 7 }, 7)]
    [InlineData(new long[] { 7, 3 }, 3)]
    [InlineData(new long[] { 2, 9, 4 }, 4)]
    [InlineData(new long[] { 9, 2, 5, 4 }, 4)]
    [InlineData(new long[] { 0, 0, 6, 6, 6 }, 6)]
    public void What_a_majority_has_reached_is_found_in_any_order(long[] values, long reached) =>
        Assert.Equal(reached, Quorum.ReachedByMajority(values));

    /// <summary>By the definition: the highest value that at least a majority is at or above.</summary>
    [Fact]
    public void What_a_majority_has_reached_is_the_highest_value_that_so_many_are_at_or_above()
    {
        var random = new Random(11);
        for (var round = 0; round < 2_000; round++)
        {
            var values = Enumerable.Range(0, random.Next(1, 10)).Select(_ => (long)random.Next(12)).ToArray();
            var expected = values.Where(v => 2 * values.Count(other => other >= v) > values.Length).Max();

            Assert.Equal(expected, Quorum.ReachedByMajority((long[])values.Clone()));
        }
    }
}
