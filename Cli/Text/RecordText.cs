using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Broker.Client;

namespace Broker.Cli.Text;

/// <summary>
/// Records as lines, and lines of JSON as messages: what <c>read -o json</c> prints <c>pub --ndjson</c> takes.
/// A value that is UTF-8 stands in "value", another one in base64 in "value_base64"; likewise a key. Headers are one
/// object, {"kind":"new"}; of a name that occurs twice an array. E.g.
/// <code>{"topic":"orders.eu","partition":0,"offset":3,"time":"2026-11-27T15:00:00.000Z","value":"hi"}</code>
/// </summary>
internal static class RecordText
{
    private static readonly UTF8Encoding Strict = new(false, throwOnInvalidBytes: true);

    public static void Print(Output output, BrokerRecord record, Action<JsonObject>? more = null) => output.Line(
        People(record),
        Plain(record),
        () =>
        {
            var json = ToJson(record);
            more?.Invoke(json);
            return json;
        });

    /// <summary>The value alone, in one line; what is not UTF-8 in base64.</summary>
    public static string Plain(BrokerRecord record) =>
        Output.OneLine(AsText(record.Value) ?? Convert.ToBase64String(record.Value.Span));

    public static string People(BrokerRecord record)
    {
        var line = new StringBuilder();
        line.Append(Output.Time(record.Timestamp)).Append("  ").Append(record.Topic);
        if (record.Partition > 0)
        {
            line.Append('/').Append(record.Partition);
        }

        line.Append('@').Append(record.Offset);
        if (!record.Key.IsEmpty)
        {
            line.Append(" [").Append(Output.OneLine(AsText(record.Key) ?? Convert.ToBase64String(record.Key.Span)))
                .Append(']');
        }

        foreach (var (name, value) in record.Headers)
        {
            line.Append(' ').Append(Output.OneLine(name)).Append('=')
                .Append(Output.OneLine(AsText(value) ?? Convert.ToBase64String(value.Span)));
        }

        return line.Append("  ").Append(Plain(record)).ToString();
    }

    public static JsonObject ToJson(BrokerRecord record)
    {
        var json = new JsonObject
        {
            ["topic"] = record.Topic,
            ["partition"] = record.Partition,
            ["offset"] = record.Offset,
            ["time"] = Output.Time(record.Timestamp),
        };
        if (!record.Key.IsEmpty)
        {
            AddBytes(json, "key", record.Key);
        }

        if (record.Headers.Count > 0)
        {
            json["headers"] = HeadersOf(record);
        }

        if (record.TimeToLive is { } ttl)
        {
            json["ttl_ms"] = (long)ttl.TotalMilliseconds;
        }

        if (record.DeliverAt is { } deliverAt)
        {
            json["deliver_at"] = Output.Time(deliverAt);
        }

        if (record.Priority > 0)
        {
            json["priority"] = record.Priority;
        }

        AddBytes(json, "value", record.Value);
        return json;
    }

    /// <exception cref="FormatException">It is no message; the sentence says what was expected.</exception>
    public static BrokerMessage FromJson(string line)
    {
        JsonObject json;
        try
        {
            json = JsonNode.Parse(line) as JsonObject
                ?? throw new FormatException("expected an object, {\"value\": ...}");
        }
        catch (JsonException e)
        {
            throw new FormatException($"it is no JSON: {e.Message}", e);
        }

        var message = new BrokerMessage();
        foreach (var (name, node) in json)
        {
            message = name switch
            {
                "key" => message with { Key = TextOf(name, node) },
                "key_base64" => message with { Key = Base64Of(name, node) },
                // Any other JSON than a text is the value itself.
                "value" => message with
                {
                    Value = node?.GetValueKind() == JsonValueKind.String
                        ? TextOf(name, node)
                        : Strict.GetBytes(node?.ToJsonString() ?? "null"),
                },
                "value_base64" => message with { Value = Base64Of(name, node) },
                "headers" => message with { Headers = HeadersFrom(node) },
                "ttl_ms" => message with { TimeToLive = TimeSpan.FromMilliseconds(NumberOf(name, node)) },
                "priority" => message with { Priority = (int)NumberOf(name, node) },
                "deliver_at" => message with { DeliverAt = TimeOf(name, node) },
                // Where it was read from: it gets a place of its own.
                "topic" or "partition" or "offset" or "time" => message,
                _ => throw new FormatException(
                    $"it has '{name}'; expected key, value, headers, ttl_ms, deliver_at, priority, key_base64 "
                    + "or value_base64"),
            };
        }

        return message;
    }

    private static string? AsText(ReadOnlyMemory<byte> bytes)
    {
        try
        {
            return Strict.GetString(bytes.Span);
        }
        catch (DecoderFallbackException)
        {
            return null;
        }
    }

    private static void AddBytes(JsonObject json, string name, ReadOnlyMemory<byte> bytes)
    {
        if (AsText(bytes) is { } text)
        {
            json[name] = text;
        }
        else
        {
            json[name + "_base64"] = Convert.ToBase64String(bytes.Span);
        }
    }

    private static JsonObject HeadersOf(BrokerRecord record)
    {
        var headers = new JsonObject();
        foreach (var name in record.Headers.GroupBy(static header => header.Key, static header => header.Value))
        {
            JsonNode[] values = [.. name.Select(static value =>
                (JsonNode)JsonValue.Create(AsText(value) ?? Convert.ToBase64String(value.Span)))];
            headers[name.Key] = values.Length == 1 ? values[0] : new JsonArray(values);
        }

        return headers;
    }

    private static List<KeyValuePair<string, ReadOnlyMemory<byte>>> HeadersFrom(JsonNode? node)
    {
        var headers = new List<KeyValuePair<string, ReadOnlyMemory<byte>>>();
        foreach (var (name, value) in node as JsonObject
            ?? throw new FormatException("its headers are no object, {\"name\": \"value\"}"))
        {
            foreach (var each in value is JsonArray several ? several : [value?.DeepClone()])
            {
                headers.Add(new(name, TextOf($"header '{name}'", each)));
            }
        }

        return headers;
    }

    private static byte[] TextOf(string name, JsonNode? node) => node?.GetValueKind() == JsonValueKind.String
        ? Strict.GetBytes(node.GetValue<string>())
        : throw new FormatException($"its {name} is no text");

    private static DateTimeOffset TimeOf(string name, JsonNode? node) => DateTimeOffset.TryParse(
        Strict.GetString(TextOf(name, node)),
        CultureInfo.InvariantCulture,
        DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal,
        out var time)
            ? time
            : throw new FormatException($"its {name} is no time, as 2026-11-27T15:00:00Z");

    private static byte[] Base64Of(string name, JsonNode? node)
    {
        try
        {
            return Convert.FromBase64String(Strict.GetString(TextOf(name, node)));
        }
        catch (FormatException e)
        {
            throw new FormatException($"its {name} is no base64", e);
        }
    }

    private static long NumberOf(string name, JsonNode? node) =>
        node is JsonValue value && value.TryGetValue(out long number) && number is >= 0 and <= 100_000_000_000_000
            ? number
            : throw new FormatException($"its {name} is no whole number from 0");
}
