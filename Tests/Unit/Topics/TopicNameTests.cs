using Broker.Client;
using Xunit;

namespace Broker.Tests.Unit.Topics;

public sealed class TopicNameTests
{
    [Theory]
    [InlineData("orders")]
    [InlineData("orders.eu.created")]
    [InlineData("a")]
    [InlineData("émile.漢字.😀")]
    [InlineData("$dlq.group")]
    [InlineData("a-b_c/d:e?[x]")]
    public void Well_formed_names_are_valid(string name)
    {
        Assert.True(TopicName.Validate(name, out var reason), reason);
    }

    [Theory]
    [InlineData(null, "empty")]
    [InlineData("", "empty")]
    [InlineData(".a", "empty token at position 0")]
    [InlineData("a.", "empty token at position 2")]
    [InlineData("a..b", "empty token at position 2")]
    [InlineData("a b", "U+0020")]
    [InlineData("a\tb", "U+0009")]
    [InlineData("a\u0000", "U+0000")]
    [InlineData("a\u00A0b", "U+00A0")]
    [InlineData("a\u200Bb", "U+200B")]
    [InlineData("\uFEFFa", "U+FEFF")]
    [InlineData("a\u202Eb", "U+202E")]
    [InlineData("a\u2060b", "U+2060")]
    [InlineData("a\u00ADb", "U+00AD")]
    [InlineData("\uFFFD\uFFFD", "U+FFFD")]
    [InlineData("a\U000E0041", "U+E0041")]
    [InlineData("a.*", "only filters")]
    [InlineData("a.>", "only filters")]
    [InlineData("a*b", "only filters")]
    public void Malformed_names_are_refused_with_the_reason(string? name, string expected)
    {
        Assert.False(TopicName.Validate(name, out var reason));
        Assert.Contains(expected, reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Half_a_surrogate_pair_is_refused()
    {
        // Not an InlineData: attributes are stored as UTF-8 and would replace the broken characters.
        foreach (var name in new[] { "a\uD800", "a\uDC00b", "\uD800\uD800" })
        {
            Assert.False(TopicName.Validate(name, out var reason));
            Assert.Contains("surrogate", reason, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void The_limit_counts_bytes_of_utf8()
    {
        Assert.True(TopicName.Validate(new string('a', 255), out _));
        Assert.False(TopicName.Validate(new string('a', 256), out _));
        Assert.True(TopicName.Validate(new string('é', 127), out _));
        Assert.False(TopicName.Validate(new string('é', 128), out var reason));
        Assert.Contains("255 bytes", reason, StringComparison.Ordinal);
        Assert.Equal(Broker.Domain.Limits.TopicNameBytes, TopicName.MaxBytes);
    }

    [Fact]
    public void Users_may_not_publish_to_reserved_names()
    {
        Assert.False(TopicName.ValidateForPublish("$dlq.group", out var reason));
        Assert.Contains("reserved", reason, StringComparison.Ordinal);
        Assert.False(TopicName.ValidateForPublish("a..b", out _));
        Assert.True(TopicName.ValidateForPublish("dlq.$x", out _));
    }
}
