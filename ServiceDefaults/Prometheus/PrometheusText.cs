using System.Buffers;
using System.Globalization;
using System.Text;

namespace Broker.ServiceDefaults.Prometheus;

/// <summary>
/// Writes the text exposition format 0.0.4, e.g. <c>broker_api_refused_total{code="NotLeader"} 3</c>. A unit is part of
/// the name; the format has no line for it.
/// </summary>
internal sealed class PrometheusText(IBufferWriter<byte> output)
{
    public void Header(string name, MetricKind kind, string help)
    {
        Write("# HELP ");
        Write(name);
        Write(" ");
        Write(help.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal));
        Write("\n# TYPE ");
        Write(name);
        Write(kind switch
        {
            MetricKind.Counter => " counter\n",
            MetricKind.Gauge => " gauge\n",
            _ => " histogram\n",
        });
    }

    public void Sample(string name, string labels, long value)
    {
        Name(name, labels);
        Span<char> digits = stackalloc char[32];
        value.TryFormat(digits, out var length, provider: CultureInfo.InvariantCulture);
        Write(digits[..length]);
        Write("\n");
    }

    public void Sample(string name, string labels, double value)
    {
        Name(name, labels);
        WriteNumber(value);
        Write("\n");
    }

    public void Bucket(string name, string labels, double bound, long count)
    {
        Write(name);
        Write("_bucket{");
        Write(labels);
        Write(labels.Length == 0 ? "le=\"" : ",le=\"");
        WriteNumber(bound);
        Write("\"} ");
        Span<char> digits = stackalloc char[32];
        count.TryFormat(digits, out var length, provider: CultureInfo.InvariantCulture);
        Write(digits[..length]);
        Write("\n");
    }

    private void Name(string name, string labels)
    {
        Write(name);
        if (labels.Length > 0)
        {
            Write("{");
            Write(labels);
            Write("}");
        }

        Write(" ");
    }

    private void WriteNumber(double value)
    {
        if (!double.IsFinite(value))
        {
            Write(double.IsNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
            return;
        }

        // The shortest text that reads back as the same number has at most 24 characters.
        Span<char> digits = stackalloc char[32];
        value.TryFormat(digits, out var length, provider: CultureInfo.InvariantCulture);
        Write(digits[..length]);
    }

    private void Write(ReadOnlySpan<char> text) => Encoding.UTF8.GetBytes(text, output);
}
