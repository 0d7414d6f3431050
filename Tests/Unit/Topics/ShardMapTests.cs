using Broker.State;
using Broker.Topics;
using Xunit;

namespace Broker.Tests.Unit.Topics;

public sealed class ShardMapTests
{
    // Computed by an independent implementation of FNV-1a 64 + fmix64. A changed value would lose topics: never edit
    // these.
    [Theory]
    [InlineData("", 0xEFD01F60BA992926)]
    [InlineData("a", 0x82A2A958A9BECE5B)]
    [InlineData("orders", 0x32520FBDB4DAD5B9)]
    [InlineData("orders.eu.created", 0x8018939A1D3DB017)]
    [InlineData("漢字", 0x39DD59062C7210FE)]
    public void The_hash_never_changes(string name, ulong expected)
    {
        Assert.Equal(expected, StableHash.Compute(System.Text.Encoding.UTF8.GetBytes(name)));
    }

    [Fact]
    public void Every_topic_lives_in_a_data_shard_and_shards_are_even()
    {
        var map = new ShardMap();
        Assert.Equal([1, 2, 3], map.DataGroups.Select(group => group.Value));
        var counts = new int[4];
        for (var i = 0; i < 30_000; i++)
        {
            counts[map.GroupOf($"orders.{i}").Value]++;
        }

        Assert.Equal(0, counts[0]);
        Assert.All(counts[1..], count => Assert.InRange(count, 9_500, 10_500));
    }

    [Fact]
    public void At_least_one_data_shard_is_needed()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new ShardMap(0));
        Assert.Equal(1, new ShardMap(1).GroupOf("anything").Value);
    }

    /// <summary>As in a Redis Cluster: what is in the first braces decides alone, unless it is nothing.</summary>
    [Theory]
    [InlineData("orders.{42}.created", "42")]
    [InlineData("{42}", "42")]
    [InlineData("invoices.{42}", "42")]
    [InlineData("a.{b.c}.{d}", "b.c")]
    [InlineData("a.{{b}}", "{b")]
    [InlineData("a.{}.{b}", "a.{}.{b}")]
    [InlineData("a.{b", "a.{b")]
    [InlineData("a.b}", "a.b}")]
    [InlineData("a.}b{", "a.}b{")]
    public void A_word_in_braces_decides_the_shard(string topic, string deciding)
    {
        for (var shards = 1; shards <= 64; shards++)
        {
            var hash = StableHash.Compute(System.Text.Encoding.UTF8.GetBytes(deciding));
            Assert.Equal(
                new Broker.Domain.GroupId(1 + (int)(hash % (ulong)shards)), new ShardMap(shards).GroupOf(topic));
        }
    }
}
