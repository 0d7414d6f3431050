using System.Globalization;
using System.Text;

namespace Broker.Client;

/// <summary>The grammar that topic names and topic filters share: tokens with single dots between them.</summary>
internal static class TopicSyntax
{
    /// <summary>Says what is wrong with the text, or null when it is well formed.</summary>
    public static string? FindFault(string? text, string what, bool wildcards)
    {
        if (string.IsNullOrEmpty(text))
        {
            return $"{what} is empty; expected dot-separated tokens such as 'orders.eu.created'.";
        }

        // A character takes at least one byte, so the cheap test comes first and bounds the work below.
        if (text.Length > TopicName.MaxBytes || Encoding.UTF8.GetByteCount(text) > TopicName.MaxBytes)
        {
            return $"{what} is longer than {TopicName.MaxBytes} bytes of UTF-8.";
        }

        return FindBadCharacter(text, what) ?? FindBadToken(text, what, wildcards);
    }

    private static string? FindBadCharacter(string text, string what)
    {
        for (var i = 0; i < text.Length; i++)
        {
            var character = text[i];
            if (char.IsWhiteSpace(character) || char.IsControl(character))
            {
                var code = ((int)character).ToString("X4", CultureInfo.InvariantCulture);
                return $"{what} has a space or control character (U+{code}) at position {i}.";
            }

            if (!char.IsSurrogate(character))
            {
                continue;
            }

            if (!char.IsHighSurrogate(character) || i + 1 == text.Length || !char.IsLowSurrogate(text[i + 1]))
            {
                return $"{what} is not valid Unicode: half a surrogate pair at position {i}.";
            }

            i++;
        }

        return null;
    }

    private static string? FindBadToken(string text, string what, bool wildcards)
    {
        var start = 0;
        while (true)
        {
            var dot = text.IndexOf('.', start);
            var end = dot < 0 ? text.Length : dot;
            var token = text.AsSpan(start, end - start);
            if (token.IsEmpty)
            {
                return $"{what} '{text}' has an empty token at position {start}; put exactly one dot between tokens.";
            }

            if (token.ContainsAny('*', '>'))
            {
                var fault = FindBadWildcard(text, token, what, wildcards, isLast: dot < 0);
                if (fault is not null)
                {
                    return fault;
                }
            }

            if (dot < 0)
            {
                return null;
            }

            start = dot + 1;
        }
    }

    private static string? FindBadWildcard(
        string text, ReadOnlySpan<char> token, string what, bool wildcards, bool isLast)
    {
        if (!wildcards)
        {
            return $"{what} '{text}' contains '*' or '>', which only filters may.";
        }

        if (token.Length > 1)
        {
            return $"{what} '{text}' has a wildcard inside the token '{token}'; '*' and '>' stand alone between dots.";
        }

        return token[0] == '>' && !isLast
            ? $"{what} '{text}' has '>' before its end; '>' is the last token only."
            : null;
    }
}
