using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Numerics;

namespace Broker.Tests.Benchmarks;

/// <summary>Options that are numbers: each has bounds, and a value outside them is refused with a sentence.</summary>
internal static class NumberOption
{
    public static Option<int> Rounds(int value, string description = "Rounds; medians are told.") =>
        Make("--rounds", value, 1, 1_000, description);

    /// <summary>From a hundredth of a second: nothing is measured in less.</summary>
    public static Option<double> Seconds(double value, string description) =>
        Make("--secs", value, 0.01, 86_400, description);

    /// <param name="name">As it is written, with its dashes.</param>
    /// <param name="value">The default.</param>
    /// <param name="least">The least that makes sense.</param>
    /// <param name="most">The most that makes sense.</param>
    /// <param name="description">What it is, for the help.</param>
    public static Option<T> Make<T>(string name, T value, T least, T most, string description)
        where T : struct, INumber<T>
    {
        return new Option<T>(name)
        {
            Description = description,
            DefaultValueFactory = _ => value,
            CustomParser = result => Parse(name, result, result.Tokens[0], least, most),
        };
    }

    /// <summary>Several numbers, each within the bounds; see <see cref="Make"/>.</summary>
    public static Option<T[]> Many<T>(string name, T[] values, T least, T most, string description)
        where T : struct, INumber<T>
    {
        return new Option<T[]>(name)
        {
            Description = description,
            AllowMultipleArgumentsPerToken = true,
            DefaultValueFactory = _ => values,
            CustomParser = result => [.. result.Tokens.Select(token => Parse(name, result, token, least, most))],
        };
    }

    private static T Parse<T>(string name, ArgumentResult result, Token token, T least, T most)
        where T : struct, INumber<T>
    {
        // "NaN" is a number, and neither below nor above any other.
        var isNumber = T.TryParse(token.Value, CultureInfo.InvariantCulture, out var given);
        if (!isNumber || !(given >= least && given <= most))
        {
            result.AddError(string.Create(
                CultureInfo.InvariantCulture,
                $"{name} is '{token.Value}'; it must be a number from {least} to {most}."));
        }

        return given;
    }
}

/// <summary>Options that are some of a list: what is not in it is refused.</summary>
internal static class ChoiceOption
{
    /// <param name="name">As it is written, with its dashes.</param>
    /// <param name="description">What it is, for the help.</param>
    /// <param name="values">The list, which is the default.</param>
    public static Option<string[]> Make(string name, string description, string[] values)
    {
        var option = new Option<string[]>(name)
        {
            Description = description,
            AllowMultipleArgumentsPerToken = true,
            DefaultValueFactory = _ => values,
        };
        option.AcceptOnlyFromAmong(values);
        return option;
    }
}
