using System.Globalization;
using System.Text.RegularExpressions;

namespace Broker.Cli.Text;

/// <summary>Durations as people write them: 500ms, 10s, 1h30m, 7d.</summary>
internal static partial class Durations
{
    private const string Expected = "expected a duration as 500ms, 10s, 5m, 1h30m or 7d";

    /// <exception cref="FormatException">It is none; the message says what was expected.</exception>
    public static TimeSpan Parse(string text)
    {
        if (text == "0")
        {
            return TimeSpan.Zero;
        }

        var match = Form().Match(text);
        if (!match.Success)
        {
            throw new FormatException(Expected);
        }

        var sum = 0.0;
        foreach (var (number, unit) in match.Groups["number"].Captures.Zip(match.Groups["unit"].Captures))
        {
            sum += double.Parse(number.Value, CultureInfo.InvariantCulture) * MillisecondsOf(unit.Value);
        }

        return sum <= TimeSpan.MaxValue.TotalMilliseconds / 2
            ? TimeSpan.FromMilliseconds(Math.Round(sum))
            : throw new FormatException(Expected + ", of less than 14,000 years");
    }

    /// <summary>In the two largest units that say something: 1d4h, 3m20s, 1.25s, 40ms.</summary>
    public static string Format(TimeSpan span)
    {
        if (span < TimeSpan.Zero)
        {
            return "-" + Format(-span);
        }

        return span switch
        {
            { TotalDays: >= 1 } => Pair(span.Days, "d", span.Hours, "h"),
            { TotalHours: >= 1 } => Pair(span.Hours, "h", span.Minutes, "m"),
            { TotalMinutes: >= 1 } => Pair(span.Minutes, "m", span.Seconds, "s"),
            { TotalSeconds: >= 1 } => string.Create(CultureInfo.InvariantCulture, $"{span.TotalSeconds:0.##}s"),
            _ => string.Create(CultureInfo.InvariantCulture, $"{span.TotalMilliseconds:0.##}ms"),
        };
    }

    private static string Pair(int large, string largeUnit, int small, string smallUnit) =>
        small == 0 ? $"{large}{largeUnit}" : $"{large}{largeUnit}{small}{smallUnit}";

    private static double MillisecondsOf(string unit) => unit switch
    {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 86_400_000,
    };

    [GeneratedRegex(@"^(?:(?<number>[0-9]{1,15}(?:\.[0-9]{1,9})?)(?<unit>ms|s|m|h|d))+$")]
    private static partial Regex Form();
}
