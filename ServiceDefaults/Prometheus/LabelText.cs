using System.Globalization;
using System.Text;
using Tag = System.Collections.Generic.KeyValuePair<string, object?>;

namespace Broker.ServiceDefaults.Prometheus;

/// <summary>
/// Tags as the text between a sample's braces: sorted, so that the order in which tags come makes no second series.
/// </summary>
internal static class LabelText
{
    /// <summary>The label set of OpenTelemetry's overflow series.</summary>
    public const string Overflow = "otel_metric_overflow=\"true\"";

    public static string Of(ReadOnlySpan<Tag> tags, int maxValueLength, bool histogram)
    {
        var labels = new SortedDictionary<string, string>(StringComparer.Ordinal);
        var sorted = tags.ToArray();
        Array.Sort(sorted, static (left, right) => string.CompareOrdinal(left.Key, right.Key));
        foreach (var (key, tagValue) in sorted)
        {
            var name = PrometheusNames.Label(key);
            // A histogram's buckets own this label.
            name = histogram && name == "le" ? "le_tag" : name;
            var value = Text(tagValue);
            value = value.Length > maxValueLength ? value[..maxValueLength] : value;
            // Keys that become the same name (a.b and a_b) share it; the specification joins their values so.
            labels[name] = labels.TryGetValue(name, out var other) ? $"{other};{value}" : value;
        }

        var text = new StringBuilder();
        foreach (var (name, value) in labels)
        {
            text.Append(text.Length == 0 ? "" : ",").Append(name).Append("=\"");
            AppendEscaped(text, value);
            text.Append('"');
        }

        return text.ToString();
    }

    private static string Text(object? value) => value switch
    {
        null => "",
        string text => text,
        bool flag => flag ? "true" : "false",
        IFormattable formattable => formattable.ToString(null, CultureInfo.InvariantCulture),
        _ => value.ToString() ?? "",
    };

    private static void AppendEscaped(StringBuilder text, string value)
    {
        foreach (var character in value)
        {
            _ = character switch
            {
                '\\' => text.Append("\\\\"),
                '"' => text.Append("\\\""),
                '\n' => text.Append("\\n"),
                _ => text.Append(character),
            };
        }
    }
}
