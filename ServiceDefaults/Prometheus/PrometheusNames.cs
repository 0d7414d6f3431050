using System.Collections.Frozen;
using System.Text;

namespace Broker.ServiceDefaults.Prometheus;

/// <summary>
/// OpenTelemetry's names in Prometheus' alphabet, by the specification "Prometheus and OpenMetrics Compatibility":
/// http.server.request.duration in s is http_server_request_duration_seconds.
/// </summary>
internal static class PrometheusNames
{
    private static readonly FrozenDictionary<string, string> Units = new Dictionary<string, string>
    {
        ["d"] = "days",
        ["h"] = "hours",
        ["min"] = "minutes",
        ["s"] = "seconds",
        ["ms"] = "milliseconds",
        ["us"] = "microseconds",
        ["ns"] = "nanoseconds",
        ["By"] = "bytes",
        ["KiBy"] = "kibibytes",
        ["MiBy"] = "mebibytes",
        ["GiBy"] = "gibibytes",
        ["TiBy"] = "tebibytes",
        ["kBy"] = "kilobytes",
        ["MBy"] = "megabytes",
        ["GBy"] = "gigabytes",
        ["TBy"] = "terabytes",
        ["m"] = "meters",
        ["V"] = "volts",
        ["A"] = "amperes",
        ["J"] = "joules",
        ["W"] = "watts",
        ["g"] = "grams",
        ["Cel"] = "celsius",
        ["Hz"] = "hertz",
        ["%"] = "percent",
    }.ToFrozenDictionary(StringComparer.Ordinal);

    private static readonly FrozenDictionary<string, string> PerUnits = new Dictionary<string, string>
    {
        ["s"] = "second",
        ["m"] = "minute",
        ["h"] = "hour",
        ["d"] = "day",
        ["w"] = "week",
        ["mo"] = "month",
        ["y"] = "year",
    }.ToFrozenDictionary(StringComparer.Ordinal);

    /// <summary>The ends that belong to a histogram's own series.</summary>
    private static readonly string[] Reserved = ["_count", "_sum", "_bucket"];

    public static string Metric(string name, string? unit, MetricKind kind)
    {
        var result = Sanitize(name);
        if (kind == MetricKind.Counter && result.EndsWith("_total", StringComparison.Ordinal))
        {
            result = result[..^"_total".Length];
        }

        var suffix = Unit(unit, kind);
        if (suffix.Length > 0 && result != suffix && !result.EndsWith('_' + suffix, StringComparison.Ordinal))
        {
            result = $"{result}_{suffix}";
        }

        if (kind == MetricKind.Counter)
        {
            return result + "_total";
        }

        // dotnet.thread_pool.thread.count is a gauge. Under its bare name a reader, and promtool's check, takes it for
        // the _count series of a histogram.
        return kind == MetricKind.Gauge && Reserved.Any(end => result.EndsWith(end, StringComparison.Ordinal))
            ? result + "_current"
            : result;
    }

    public static string Label(string name) => Sanitize(name);

    /// <summary>Letters, digits and single underscores, no digit first.</summary>
    private static string Sanitize(string name)
    {
        var text = new StringBuilder(name.Length + 1);
        foreach (var character in name)
        {
            if (char.IsAsciiDigit(character) && text.Length == 0)
            {
                text.Append('_');
            }

            if (char.IsAsciiLetterOrDigit(character))
            {
                text.Append(character);
            }
            else if (text.Length == 0 || text[^1] != '_')
            {
                text.Append('_');
            }
        }

        return text.Length == 0 ? "_" : text.ToString();
    }

    private static string Unit(string? unit, MetricKind kind)
    {
        var plain = WithoutAnnotations(unit);
        if (plain.Length == 0)
        {
            return "";
        }

        if (plain == "1")
        {
            return kind == MetricKind.Gauge ? "ratio" : "";
        }

        var slash = plain.IndexOf('/', StringComparison.Ordinal);
        if (slash < 0)
        {
            return Word(Units, plain);
        }

        // "{message}/s" has no word left before the slash: per_second.
        var over = Word(PerUnits, plain[(slash + 1)..]);
        var of = slash == 0 ? "" : Word(Units, plain[..slash]);
        return (of.Length, over.Length) switch
        {
            (_, 0) => of,
            (0, _) => "per_" + over,
            _ => $"{of}_per_{over}",
        };
    }

    private static string Word(FrozenDictionary<string, string> words, string unit) =>
        unit.Length == 0 ? "" : words.TryGetValue(unit, out var word) ? word : Sanitize(unit).Trim('_');

    /// <summary>"{message}" names what is counted, it is no unit.</summary>
    private static string WithoutAnnotations(string? unit)
    {
        var text = new StringBuilder();
        var depth = 0;
        foreach (var character in unit ?? "")
        {
            depth += character switch { '{' => 1, _ => 0 };
            if (depth == 0)
            {
                text.Append(character);
            }

            depth -= character switch { '}' when depth > 0 => 1, _ => 0 };
        }

        return text.ToString().Trim();
    }
}
