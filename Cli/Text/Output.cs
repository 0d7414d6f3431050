using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Spectre.Console;

namespace Broker.Cli.Text;

internal enum OutputFormat
{
    Table,
    Plain,
    Json,
}

/// <summary>A column of a list: its name, as in JSON, and what a row has there.</summary>
internal readonly record struct Column<T>(string Name, Func<T, object?> Value);

/// <summary>
/// One way to print everything. A value is a text, a number, a bool, a time, a duration, bytes (<see cref="Bytes"/>) or
/// a list of them; JSON has durations in milliseconds and bytes as numbers, people get units.
/// </summary>
internal sealed class Output(TextWriter writer, OutputFormat format, bool isTerminal)
{
    /// <summary>What stands in a pipe cannot be wrapped: lines are as long as their content.</summary>
    private const int PipeColumns = 100_000;

    /// <summary>It is read by programs and people, and is no part of a web page.</summary>
    private static readonly JsonSerializerOptions Lines = new()
    {
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    private static readonly JsonSerializerOptions Document = new(Lines) { WriteIndented = true };

    private readonly Lazy<IAnsiConsole> _terminal = new(() =>
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(writer),
            Ansi = isTerminal ? AnsiSupport.Detect : AnsiSupport.No,
            ColorSystem = isTerminal ? ColorSystemSupport.Detect : ColorSystemSupport.NoColors,
            Interactive = isTerminal ? InteractionSupport.Detect : InteractionSupport.No,
        });
        if (!isTerminal)
        {
            console.Profile.Width = PipeColumns;
        }

        return console;
    });

    public OutputFormat Format => format;

    /// <summary>For what only a terminal has: progress, live views, questions.</summary>
    public IAnsiConsole Terminal => _terminal.Value;

    public bool IsTerminal => isTerminal;

    public void List<T>(IEnumerable<T> rows, params Column<T>[] columns)
    {
        if (format == OutputFormat.Json)
        {
            WriteJson(new JsonArray([.. rows.Select(row => Object(columns, row))]), Document);
            return;
        }

        if (format == OutputFormat.Plain)
        {
            foreach (var row in rows)
            {
                writer.WriteLine(string.Join('\t', columns.Select(column => Cell(column.Value(row)))));
            }

            return;
        }

        var table = new Table { Border = TableBorder.None, ShowHeaders = true };
        foreach (var column in columns)
        {
            var header = Markup.Escape(column.Name.Replace('_', ' ').ToUpperInvariant());
            table.AddColumn(new TableColumn(isTerminal ? $"[bold]{header}[/]" : header) { NoWrap = !isTerminal });
        }

        foreach (var row in rows)
        {
            table.AddRow([.. columns.Select(column => new Markup(Markup.Escape(Cell(column.Value(row)))))]);
        }

        WriteTrimmed(table);
    }

    /// <summary>One thing with its properties.</summary>
    public void Describe<T>(T thing, params Column<T>[] properties)
    {
        switch (format)
        {
            case OutputFormat.Json:
                WriteJson(Object(properties, thing), Document);
                break;
            case OutputFormat.Plain:
                foreach (var property in properties)
                {
                    writer.WriteLine($"{property.Name}\t{Cell(property.Value(thing))}");
                }

                break;
            default:
                var width = properties.Max(static property => property.Name.Length) + 2;
                foreach (var property in properties)
                {
                    var name = (property.Name.Replace('_', ' ') + ":").PadRight(width);
                    writer.WriteLine($"{name} {Cell(property.Value(thing))}".TrimEnd());
                }

                break;
        }
    }

    /// <summary>What was done: a sentence for people, its values for programs.</summary>
    public void Done(string sentence, params (string Name, object? Value)[] values)
    {
        if (format == OutputFormat.Table)
        {
            writer.WriteLine(sentence);
        }
        else if (format == OutputFormat.Json)
        {
            var columns = values.Select(static value => new Column<string>(value.Name, _ => value.Value));
            WriteJson(Object(columns, ""), Lines);
        }
        else
        {
            writer.WriteLine(string.Join('\t', values.Select(static value => Cell(value.Value))));
        }
    }

    /// <summary>One of a stream that may have no end.</summary>
    public void Line(string people, string plain, Func<JsonObject> json)
    {
        if (format == OutputFormat.Json)
        {
            WriteJson(json(), Lines);
        }
        else
        {
            writer.WriteLine(format == OutputFormat.Plain ? plain : people);
        }
    }

    /// <summary>A heading between lists; only people need it.</summary>
    public void Heading(string text)
    {
        if (format == OutputFormat.Table)
        {
            writer.WriteLine();
            writer.WriteLine(text);
        }
    }

    public void Raw(string text) => writer.WriteLine(text);

    public void WriteJson(JsonNode node) => WriteJson(node, Document);

    public static JsonObject Object<T>(IEnumerable<Column<T>> columns, T row)
    {
        var json = new JsonObject();
        foreach (var column in columns)
        {
            var value = column.Value(row);
            json[value is TimeSpan ? column.Name + "_ms" : column.Name] = Json(value);
        }

        return json;
    }

    /// <summary>A value as people read it, in one line.</summary>
    public static string Cell(object? value) => OneLine(Text(value));

    private void WriteJson(JsonNode node, JsonSerializerOptions options) =>
        writer.WriteLine(node.ToJsonString(options));

    private void WriteTrimmed(Table table)
    {
        if (isTerminal)
        {
            Terminal.Write(table);
            return;
        }

        // Columns are padded to their widths, the last one too: nobody needs those spaces.
        using var text = new StringWriter();
        var plain = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(text),
            Ansi = AnsiSupport.No,
            ColorSystem = ColorSystemSupport.NoColors,
            Interactive = InteractionSupport.No,
        });
        plain.Profile.Width = PipeColumns;
        plain.Write(table);
        foreach (var line in text.ToString().TrimEnd().Split('\n'))
        {
            writer.WriteLine(line.TrimEnd());
        }
    }

    private static string Text(object? value) => Words(value) is { Length: > 0 } words ? words : "-";

    private static string Words(object? value) => value switch
    {
        null => "",
        string text => text,
        bool flag => flag ? "yes" : "no",
        TimeSpan span => Durations.Format(span),
        DateTimeOffset time => Time(time),
        Bytes bytes => Sizes.Format(bytes.Count),
        IEnumerable<string> texts => string.Join(',', texts),
        IEnumerable<int> numbers => string.Join(',', numbers),
        IEnumerable<TimeSpan> spans => string.Join(',', spans.Select(Durations.Format)),
        IFormattable number => number.ToString(null, CultureInfo.InvariantCulture),
        _ => value.ToString() ?? "",
    };

    public static string Time(DateTimeOffset time) =>
        time.ToString("yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture);

    /// <summary>So that a tab or a line break in a value is not taken for one of the output's own.</summary>
    public static string OneLine(string text)
    {
        if (!text.AsSpan().ContainsAnyInRange('\0', '\x1f') && !text.Contains('\x7f', StringComparison.Ordinal))
        {
            return text;
        }

        var line = new StringBuilder(text.Length + 8);
        foreach (var c in text)
        {
            _ = c switch
            {
                '\n' => line.Append("\\n"),
                '\r' => line.Append("\\r"),
                '\t' => line.Append("\\t"),
                < ' ' or '\x7f' => line.Append(CultureInfo.InvariantCulture, $"\\x{(int)c:x2}"),
                _ => line.Append(c),
            };
        }

        return line.ToString();
    }

    private static JsonNode? Json(object? value) => value switch
    {
        null => null,
        string text => JsonValue.Create(text),
        bool flag => JsonValue.Create(flag),
        int number => JsonValue.Create(number),
        long number => JsonValue.Create(number),
        ulong number => JsonValue.Create(number),
        double number => JsonValue.Create(number),
        TimeSpan span => JsonValue.Create((long)span.TotalMilliseconds),
        DateTimeOffset time => JsonValue.Create(Time(time)),
        Bytes bytes => JsonValue.Create(bytes.Count),
        IEnumerable<string> texts => new JsonArray([.. texts.Select(static text => JsonValue.Create(text))]),
        IEnumerable<int> numbers => new JsonArray([.. numbers.Select(static number => JsonValue.Create(number))]),
        IEnumerable<TimeSpan> spans => new JsonArray(
            [.. spans.Select(static span => JsonValue.Create((long)span.TotalMilliseconds))]),
        Enum => JsonValue.Create(value.ToString()),
        _ => throw new ArgumentException($"{value.GetType()} has no form in JSON.", nameof(value)),
    };
}

/// <summary>A number that is one of bytes.</summary>
internal readonly record struct Bytes(long Count);
