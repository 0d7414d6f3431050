using System.Diagnostics.CodeAnalysis;
using System.Text;

namespace Broker.Client;

/// <summary>
/// Which topics a subscription wants: a topic name in which <c>*</c> stands for exactly one token, and a last
/// <c>&gt;</c> for one or more tokens. <c>orders.*.created</c> matches <c>orders.eu.created</c>; <c>orders.&gt;</c>
/// matches that and <c>orders.eu</c>, not <c>orders</c>; <c>&gt;</c> matches every topic. Immutable; safe to share
/// between threads.
/// </summary>
public sealed class TopicFilter : IEquatable<TopicFilter>
{
    private readonly string _text;

    private TopicFilter(string text)
    {
        _text = text;
        IsLiteral = text.AsSpan().IndexOfAny('*', '>') < 0;
    }

    /// <summary>True when the filter has no wildcard: it matches the one topic of that name.</summary>
    public bool IsLiteral { get; }

    /// <summary>
    /// A glob for Redis PSUBSCRIBE (put the channel prefix before it) that matches every topic that the filter matches,
    /// and perhaps more, because a Redis <c>*</c> also spans dots: check what arrives with <see cref="Matches"/>.
    /// Characters that mean something to Redis are escaped, so for a literal filter subscribe to the plain channel
    /// instead.
    /// </summary>
    public string RedisPattern => ToRedisPattern();

    /// <summary>Reads a filter.</summary>
    /// <param name="text">The filter's text.</param>
    /// <exception cref="FormatException">The text is no filter; the message says what is wrong with it.</exception>
    public static TopicFilter Parse(string? text) =>
        TryParse(text, out var filter, out var reason) ? filter : throw new FormatException(reason);

    /// <summary>Reads a filter, or says what is wrong with the text.</summary>
    /// <param name="text">The filter's text.</param>
    /// <param name="filter">The filter, when the text is one.</param>
    /// <param name="reason">What is wrong, as a sentence for the user, when it is not.</param>
    public static bool TryParse(
        string? text, [NotNullWhen(true)] out TopicFilter? filter, [NotNullWhen(false)] out string? reason)
    {
        reason = TopicSyntax.FindFault(text, "The topic filter", wildcards: true);
        filter = reason is null ? new TopicFilter(text!) : null;
        return filter is not null;
    }

    /// <summary>Whether the filter wants the topic. Allocates nothing.</summary>
    /// <param name="topic">A well-formed topic name.</param>
    public bool Matches(string topic)
    {
        ArgumentNullException.ThrowIfNull(topic);
        if (IsLiteral)
        {
            return string.Equals(_text, topic, StringComparison.Ordinal);
        }

        var filter = _text.AsSpan();
        var name = topic.AsSpan();
        while (!filter.IsEmpty && !name.IsEmpty)
        {
            var wanted = TakeToken(ref filter);
            if (wanted is ">")
            {
                return true;
            }

            var token = TakeToken(ref name);
            if (wanted is not "*" && !wanted.SequenceEqual(token))
            {
                return false;
            }
        }

        return filter.IsEmpty && name.IsEmpty;
    }

    /// <summary>The filter's text, as it was parsed.</summary>
    public override string ToString() => _text;

    /// <summary>Whether two filters have the same text.</summary>
    /// <param name="other">The other filter.</param>
    public bool Equals(TopicFilter? other) =>
        other is not null && string.Equals(_text, other._text, StringComparison.Ordinal);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as TopicFilter);

    /// <inheritdoc/>
    public override int GetHashCode() => _text.GetHashCode(StringComparison.Ordinal);

    // Tokens are never empty (TopicSyntax), so "nothing left" and "an empty token" cannot be confused.
    private static ReadOnlySpan<char> TakeToken(ref ReadOnlySpan<char> rest)
    {
        var dot = rest.IndexOf('.');
        var token = dot < 0 ? rest : rest[..dot];
        rest = dot < 0 ? [] : rest[(dot + 1)..];
        return token;
    }

    private string ToRedisPattern()
    {
        var pattern = new StringBuilder(_text.Length + 8);
        foreach (var character in _text)
        {
            switch (character)
            {
                // A wildcard stands alone in its token, so '>' can only be the last one.
                case '>':
                    pattern.Append('*');
                    break;
                case '?' or '[' or ']' or '\\' or '^':
                    pattern.Append('\\').Append(character);
                    break;
                default:
                    pattern.Append(character);
                    break;
            }
        }

        return pattern.ToString();
    }
}
