using Broker.Client;
using Broker.ClusterState;
using Broker.Delivery;
using Xunit;

namespace Broker.Tests.Unit.Delivery;

public sealed class TopicFilterSetTests
{
    [Fact]
    public void A_set_matches_what_any_of_its_filters_matches()
    {
        var random = new Random(5);
        var matches = 0;
        for (var round = 0; round < 5_000; round++)
        {
            var filters = Enumerable.Range(0, random.Next(0, 4)).Select(_ => DrawFilter(random)).ToList();
            var set = new TopicFilterSet(filters);
            Assert.Equal(filters.Count == 0, set.IsEmpty);
            var topic = string.Join('.', Enumerable.Range(0, random.Next(1, 5)).Select(_ => "ab"[random.Next(2)]));
            var expected = filters.Any(filter => filter.Matches(topic));
            matches += expected ? 1 : 0;
            Assert.True(expected == set.Matches(topic), $"{topic} in {string.Join(", ", filters)}");
        }

        Assert.InRange(matches, 500, 4_500);
    }

    [Fact]
    public void A_matcher_knows_the_channel_of_wanted_topics()
    {
        var matcher = new LiveMatcher([new LiveSubscription("s", ["orders.*"]), new LiveSubscription("t", ["x"])]);
        for (var turn = 0; turn < 2; turn++)
        {
            Assert.Equal("broker:orders.eu", matcher.ChannelOf("orders.eu")?.Name);
            Assert.Equal("broker:x", matcher.ChannelOf("x")?.Name);
            Assert.Null(matcher.ChannelOf("orders"));
            Assert.Equal(new LiveChannel("broker:orders.eu", "orders.eu", 12), matcher.ChannelOf("orders.eu #12"));
        }

        Assert.True(LiveMatcher.None.IsEmpty);
        Assert.Null(LiveMatcher.None.ChannelOf("x"));
    }

    private static TopicFilter DrawFilter(Random random)
    {
        var tokens = Enumerable.Range(0, random.Next(1, 4)).Select(_ => "ab*"[random.Next(3)].ToString()).ToList();
        if (random.Next(3) == 0)
        {
            tokens.Add(">");
        }

        return TopicFilter.Parse(string.Join('.', tokens));
    }
}
