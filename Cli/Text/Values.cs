using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;

namespace Broker.Cli.Text;

/// <summary>Options and arguments whose values have a form of their own: a bad one is refused by a sentence.</summary>
internal static class Values
{
    /// <summary>One of the names of an enum, in lower case.</summary>
    public static Option<T?> Choice<T>(string name, string description, string? alias = null, bool recursive = false)
        where T : struct, Enum
    {
        var names = Enum.GetNames<T>().Select(static each => each.ToLowerInvariant()).ToArray();
        var option = new Option<T?>(name, alias is null ? [] : [alias])
        {
            Description = description,
            Recursive = recursive,
            HelpName = string.Join('|', names),
            CustomParser = result => Parse(result, text =>
                names.Contains(text, StringComparer.OrdinalIgnoreCase)
                    ? Enum.Parse<T>(text, ignoreCase: true)
                    : throw new FormatException($"expected {string.Join(", ", names[..^1])} or {names[^1]}")),
        };
        option.CompletionSources.Add(names);
        return option;
    }

    public static Option<TimeSpan?> Duration(string name, string description, bool recursive = false) => new(name)
    {
        Description = description,
        Recursive = recursive,
        HelpName = "duration",
        CustomParser = static result => Parse<TimeSpan>(result, Durations.Parse),
    };

    /// <summary>A moment: a time as in ISO 8601, or how long ago.</summary>
    public static Option<DateTimeOffset?> Time(string name, string description) => new(name)
    {
        Description = description + " A time as 2026-11-27T15:00:00Z, or how long ago: 90s, 2h, 1d.",
        HelpName = "time",
        CustomParser = static result => Parse(result, static text => ParseTime(text, TimeProvider.System)),
    };

    /// <summary>Bytes: a number, with KiB, MiB, GiB or TiB (1,024 each), or KB, MB, GB, TB (1,000 each).</summary>
    public static Option<long?> Size(string name, string description) => new(name)
    {
        Description = description,
        HelpName = "size",
        CustomParser = static result => Parse<long>(result, Sizes.Parse),
    };

    public static Option<long?> Number(string name, string description, long least = 0, long most = long.MaxValue) =>
        new(name)
        {
            Description = description,
            HelpName = "number",
            CustomParser = result => Parse(result, text => ParseNumber(text, least, most)),
        };

    public static Argument<int> NumberArgument(string name, string description, int least) => new(name)
    {
        Description = description,
        CustomParser = result => Parse(result, text => (int)ParseNumber(text, least, int.MaxValue)) ?? 0,
    };

    public static DateTimeOffset ParseTime(string text, TimeProvider clock)
    {
        if (DateTimeOffset.TryParse(
            text,
            CultureInfo.InvariantCulture,
            DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal,
            out var time)
            && text.Contains('-', StringComparison.Ordinal))
        {
            return time;
        }

        try
        {
            return clock.GetUtcNow() - Durations.Parse(text);
        }
        catch (Exception e) when (e is FormatException or ArgumentOutOfRangeException)
        {
            throw new FormatException("expected a time as 2026-11-27T15:00:00Z, or how long ago: 90s, 2h, 1d", e);
        }
    }

    private static long ParseNumber(string text, long least, long most) =>
        long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number)
        && number >= least && number <= most
            ? number
            : throw new FormatException(most >= int.MaxValue && number <= most // The broker knows how many it takes.
                ? $"expected a whole number from {least}"
                : $"expected a whole number from {least} to {most}");

    private static T? Parse<T>(ArgumentResult result, Func<string, T> parse)
        where T : struct
    {
        var text = result.Tokens.Count > 0 ? result.Tokens[^1].Value : "";
        try
        {
            return parse(text);
        }
        catch (Exception e) when (e is FormatException or OverflowException)
        {
            var name = result.Parent is OptionResult option ? option.Option.Name : result.Argument.Name;
            result.AddError($"{name} is '{text}'; {e.Message}.");
            return null;
        }
    }
}
