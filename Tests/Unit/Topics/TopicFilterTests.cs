using Broker.Client;
using Xunit;

namespace Broker.Tests.Unit.Topics;

public sealed class TopicFilterTests
{
    [Theory]
    [InlineData("orders.eu", "orders.eu", true)]
    [InlineData("orders.eu", "orders.us", false)]
    [InlineData("orders.eu", "orders.eu.x", false)]
    [InlineData("orders.*", "orders.eu", true)]
    [InlineData("orders.*", "orders", false)]
    [InlineData("orders.*", "orders.eu.created", false)]
    [InlineData("*.eu", "orders.eu", true)]
    [InlineData("*.eu", "orders.us", false)]
    [InlineData("orders.*.created", "orders.eu.created", true)]
    [InlineData("orders.*.created", "orders.eu.deleted", false)]
    [InlineData("orders.>", "orders.eu", true)]
    [InlineData("orders.>", "orders.eu.created", true)]
    [InlineData("orders.>", "orders", false)]
    [InlineData("orders.>", "ordersx.eu", false)]
    [InlineData("orders.*.>", "orders.eu", false)]
    [InlineData("orders.*.>", "orders.eu.a.b", true)]
    [InlineData(">", "a", true)]
    [InlineData(">", "a.b.c", true)]
    [InlineData("*", "a", true)]
    [InlineData("*", "a.b", false)]
    [InlineData("*.*", "a.b", true)]
    public void Filters_match_as_documented(string filter, string topic, bool matches)
    {
        Assert.Equal(matches, TopicFilter.Parse(filter).Matches(topic));
    }

    [Theory]
    [InlineData("", "empty")]
    [InlineData("a..*", "empty token")]
    [InlineData("a.>.b", "last token only")]
    [InlineData("a.b*", "stand alone")]
    [InlineData("a.>>", "stand alone")]
    [InlineData("a .*", "U+0020")]
    public void Bad_filters_are_refused_with_the_reason(string filter, string expected)
    {
        var fault = Assert.Throws<FormatException>(() => TopicFilter.Parse(filter));
        Assert.Contains(expected, fault.Message, StringComparison.Ordinal);
        Assert.False(TopicFilter.TryParse(filter, out _, out var reason));
        Assert.Equal(fault.Message, reason);
    }

    [Theory]
    [InlineData("orders.eu", "orders.eu", true)]
    [InlineData("orders.*.x", "orders.*.x", false)]
    [InlineData("orders.>", "orders.*", false)]
    [InlineData(">", "*", false)]
    [InlineData("a?[b]\\.*", "a\\?\\[b\\]\\\\.*", false)]
    public void Redis_patterns_escape_what_redis_reads(string filter, string pattern, bool literal)
    {
        var parsed = TopicFilter.Parse(filter);
        Assert.Equal(pattern, parsed.RedisPattern);
        Assert.Equal(literal, parsed.IsLiteral);
    }

    [Fact]
    public void Filters_agree_with_a_plain_token_by_token_definition()
    {
        var random = new Random(3);
        for (var round = 0; round < 20_000; round++)
        {
            var topic = string.Join('.', Enumerable.Range(0, random.Next(1, 5)).Select(_ => "ab"[random.Next(2)]));
            var tokens = Enumerable.Range(0, random.Next(1, 5)).Select(_ => "ab*"[random.Next(3)].ToString()).ToList();
            if (random.Next(3) == 0)
            {
                tokens.Add(">");
            }

            var filter = string.Join('.', tokens);
            Assert.True(
                Reference(tokens, topic.Split('.')) == TopicFilter.Parse(filter).Matches(topic),
                $"{filter} and {topic}");
        }
    }

    private static bool Reference(List<string> filter, string[] topic)
    {
        var open = filter[^1] == ">";
        var fixedTokens = open ? filter.Count - 1 : filter.Count;
        return (open ? topic.Length > fixedTokens : topic.Length == fixedTokens)
            && Enumerable.Range(0, fixedTokens).All(i => filter[i] == "*" || filter[i] == topic[i]);
    }
}
