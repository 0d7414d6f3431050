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
            if (char.IsAsciiLetterOrDigit(character))
            {
                continue;
            }

            if (char.IsWhiteSpace(character) || char.IsControl(character))
            {
                var code = ((int)character).ToString("X4", CultureInfo.InvariantCulture);
                return $"{what} has a space or control character (U+{code}) at position {i}.";
            }

            if (!Rune.TryGetRuneAt(text, i, out var rune))
            {
                return $"{what} is not valid Unicode: half a surrogate pair at position {i}.";
            }

            if (FindBadRune(rune) is { } fault)
            {
                return $"{what} has {fault} (U+{rune.Value.ToString("X4", CultureInfo.InvariantCulture)}) "
                    + $"at position {i}.";
            }

            i += rune.Utf16SequenceLength - 1;
        }

        return null;
    }

    // Two names that look the same must be the same. U+FFFD is what decoders put in the place of bytes that are not
    // UTF-8: many names would become one.
    private static string? FindBadRune(Rune rune) => rune.Value switch
    {
        0xFFFD => "the replacement character, which stands for bytes that are not UTF-8",
        _ when (rune.Value & 0xFFFE) == 0xFFFE || rune.Value is >= 0xFDD0 and <= 0xFDEF => "what is no character",
        _ when Rune.GetUnicodeCategory(rune) == UnicodeCategory.Format => "a character that cannot be seen",
        _ => null,
    };

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
