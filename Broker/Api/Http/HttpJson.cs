using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using V1 = Broker.Protocol.V1;

namespace Broker.Api;

/// <summary>
/// The contract's messages as JSON: fields by their names in the contract, enums by theirs, bytes in base64. Numbers
/// are numbers, but for ids of 64 bits, which are strings, as JavaScript would round them. Records are written as
/// people read them, see <see cref="WriteRecord"/>.
/// </summary>
internal static class HttpJson
{
    public const string ContentType = "application/json";

    private static readonly UTF8Encoding Strict = new(false, throwOnInvalidBytes: true);

    private static readonly HashSet<string> Ids = ["topic_id", "session"];

    /// <summary>Readable text; the type of the body keeps browsers from taking it for a page.</summary>
    public static JsonWriterOptions Writing { get; } = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>application/json, or any type that ends with +json.</summary>
    public static bool IsJson(string? contentType)
    {
        var type = MediaTypeOf(contentType);
        return type.Equals(ContentType, StringComparison.OrdinalIgnoreCase)
            || type.EndsWith("+json", StringComparison.OrdinalIgnoreCase);
    }

    /// <summary>Without its parameters; empty for none.</summary>
    public static string MediaTypeOf(string? contentType) => (contentType ?? "").Split(';')[0].Trim();

    public static bool IsId(FieldDescriptor field) => Ids.Contains(field.Name);

    /// <summary>What a field is called: batches are lists of records.</summary>
    public static string NameOf(FieldDescriptor field) => IsBatch(field) ? "records" : field.Name;

    public static bool IsBatch(FieldDescriptor field) => field.FieldType == FieldType.Message
        && field.MessageType == V1.RecordBatch.Descriptor;

    /// <summary>A body that is one message of the contract; empty: the message without anything.</summary>
    /// <exception cref="HttpRefusal">It is not, and why.</exception>
    public static IMessage Read(ReadOnlyMemory<byte> body, MessageDescriptor type)
    {
        if (body.IsEmpty)
        {
            return type.Parser.ParseFrom([]);
        }

        try
        {
            return JsonParser.Default.Parse(HttpBodies.TextOf(body), type);
        }
        catch (Exception problem) when (problem is InvalidProtocolBufferException or InvalidJsonException
            or FormatException or OverflowException)
        {
            throw HttpRefusal.Invalid(
                $"The request's body is not the JSON of a {type.Name}: {problem.Message} {HttpApi.DocumentPath} has "
                + "its form.");
        }
    }

    public static void Write(Utf8JsonWriter json, IMessage message)
    {
        json.WriteStartObject();
        WriteFields(json, message);
        json.WriteEndObject();
    }

    public static void WriteFields(Utf8JsonWriter json, IMessage message)
    {
        foreach (var field in message.Descriptor.Fields.InDeclarationOrder())
        {
            if (field.ContainingOneof is not null && !field.Accessor.HasValue(message))
            {
                continue;
            }

            var value = field.Accessor.GetValue(message);
            if (field.IsRepeated)
            {
                json.WriteStartArray(field.Name);
                foreach (var each in (System.Collections.IEnumerable)value)
                {
                    WriteValue(json, field, each);
                }

                json.WriteEndArray();
            }
            else if (value is V1.RecordBatch batch)
            {
                json.WriteStartArray(NameOf(field));
                foreach (var record in batch.Records)
                {
                    WriteValue(json, field, record);
                }

                json.WriteEndArray();
            }
            else if (value is not null)
            {
                json.WritePropertyName(field.Name);
                WriteValue(json, field, value);
            }
        }
    }

    /// <summary>
    /// Key, value and headers: as text where they are UTF-8 ("value"), else in base64 ("value_base64"), as CloudEvents
    /// has its data. Example: {"key":"42","value":"hello","headers":[{"name":"kind","value":"new"}]}.
    /// </summary>
    public static void WriteRecord(Utf8JsonWriter json, V1.Record record)
    {
        if (!record.Key.IsEmpty)
        {
            WriteBytes(json, "key", record.Key.Span);
        }

        WriteBytes(json, "value", record.Value.Span);
        json.WriteStartArray("headers");
        foreach (var header in record.Headers)
        {
            json.WriteStartObject();
            json.WriteString("name", header.Name);
            WriteBytes(json, "value", header.Value.Span);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        if (record.TtlMs > 0)
        {
            json.WriteNumber("ttl_ms", record.TtlMs);
        }

        if (record.DeliverAtUnixMs > 0)
        {
            json.WriteNumber("deliver_at_unix_ms", record.DeliverAtUnixMs);
        }

        if (record.Priority > 0)
        {
            json.WriteNumber("priority", record.Priority);
        }
    }

    /// <summary>False: it is not UTF-8.</summary>
    public static bool TryText(ReadOnlySpan<byte> bytes, out string text)
    {
        try
        {
            text = Strict.GetString(bytes);
            return true;
        }
        catch (DecoderFallbackException)
        {
            text = "";
            return false;
        }
    }

    private static void WriteBytes(Utf8JsonWriter json, string name, ReadOnlySpan<byte> bytes)
    {
        if (System.Text.Unicode.Utf8.IsValid(bytes))
        {
            json.WriteString(name, bytes);
        }
        else
        {
            json.WriteBase64String(name + "_base64", bytes);
        }
    }

    private static void WriteValue(Utf8JsonWriter json, FieldDescriptor field, object value)
    {
        switch (value)
        {
            case V1.Record record:
                json.WriteStartObject();
                WriteRecord(json, record);
                json.WriteEndObject();
                break;
            case IMessage message:
                Write(json, message);
                break;
            case ByteString bytes:
                json.WriteBase64StringValue(bytes.Span);
                break;
            case ulong number when IsId(field):
                json.WriteStringValue(number.ToString(System.Globalization.CultureInfo.InvariantCulture));
                break;
            case ulong number:
                json.WriteNumberValue(number);
                break;
            case long number:
                json.WriteNumberValue(number);
                break;
            case uint number:
                json.WriteNumberValue(number);
                break;
            case int number:
                json.WriteNumberValue(number);
                break;
            case bool flag:
                json.WriteBooleanValue(flag);
                break;
            case string text:
                json.WriteStringValue(text);
                break;
            case Enum when field.EnumType.FindValueByNumber(Convert.ToInt32(
                value, System.Globalization.CultureInfo.InvariantCulture)) is { } known:
                json.WriteStringValue(known.Name);
                break;
            case Enum:
                json.WriteNumberValue(Convert.ToInt32(value, System.Globalization.CultureInfo.InvariantCulture));
                break;
            default:
                throw new InvalidOperationException($"The contract has no field of type {value.GetType()} yet.");
        }
    }
}
