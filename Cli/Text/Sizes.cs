using System.Globalization;

namespace Broker.Cli.Text;

/// <summary>Bytes as people write them: 1000, 64KiB, 1.5GiB, 10MB.</summary>
internal static class Sizes
{
    private static readonly (string Unit, long Bytes)[] Units =
    [
        ("KiB", 1L << 10), ("MiB", 1L << 20), ("GiB", 1L << 30), ("TiB", 1L << 40),
        ("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000), ("B", 1),
    ];

    /// <exception cref="FormatException">It is none; the message says what was expected.</exception>
    public static long Parse(string text)
    {
        var (unit, bytes) = Units.FirstOrDefault(
            each => text.EndsWith(each.Unit, StringComparison.OrdinalIgnoreCase), ("", 1));
        var isNumber = decimal.TryParse(
            text[..^unit.Length], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number);
        return isNumber && number <= long.MaxValue / bytes
            ? (long)(number * bytes)
            : throw new FormatException("expected bytes as 1000, 64KiB, 1.5GiB or 10MB");
    }

    public static string Format(long bytes)
    {
        var (unit, size) = Units[..4].LastOrDefault(each => bytes >= each.Bytes, ("B", 1));
        return string.Create(CultureInfo.InvariantCulture, $"{(double)bytes / size:0.##} {unit}");
    }
}
