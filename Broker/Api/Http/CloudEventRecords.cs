using System.Buffers;
using System.Globalization;
using System.Net.Mime;
using System.Text;
using System.Text.Json;
using Broker.Protocol.V1;
using CloudNative.CloudEvents;
using CloudNative.CloudEvents.Http;
using CloudNative.CloudEvents.SystemTextJson;
using Google.Protobuf;

namespace Broker.Api;

/// <summary>
/// CloudEvents as records and back. A record holds one in binary mode, whatever mode it came in: each attribute is a
/// header "ce-" and its name (UTF-8 as it is), datacontenttype is the header "content-type", the data are the value,
/// and the attribute partitionkey is the record's key where it has no other.
/// </summary>
internal static class CloudEventRecords
{
    public const string StructuredType = "application/cloudevents+json";
    public const string BatchType = "application/cloudevents-batch+json";
    public const string ContentTypeHeader = "content-type";
    public const string Prefix = "ce-";

    private const string VersionHeader = "ce-specversion";

    private static readonly SearchValues<char> AttributeLetters = SearchValues.Create(
        "abcdefghijklmnopqrstuvwxyz0123456789");

    private static readonly JsonEventFormatter Json = new();

    /// <summary>Whether a request brings one in its headers.</summary>
    public static bool IsBinary(HttpRequest request) =>
        request.Headers.Keys.Any(static name => name.StartsWith(Prefix, StringComparison.OrdinalIgnoreCase));

    /// <summary>An event in the headers, with the body as its data.</summary>
    /// <exception cref="HttpRefusal">It is none, and why.</exception>
    public static Record FromBinary(HttpRequest request, ReadOnlyMemory<byte> body)
    {
        var version = HttpTarget.Header(request, VersionHeader) is { } text
            ? CloudEventsSpecVersion.FromVersionId(text)
                ?? throw HttpRefusal.Invalid($"The header {VersionHeader} is '{text}'; expected '1.0'.")
            : throw HttpRefusal.Invalid(
                $"The request has headers of a CloudEvent ({Prefix}…) but no {VersionHeader}. Send it with '1.0', or "
                + "no such header at all.");
        return Checked(() =>
        {
            var made = new CloudEvent(version) { DataContentType = request.ContentType, Data = body.ToArray() };
            foreach (var (name, values) in request.Headers)
            {
                if (name.StartsWith(Prefix, StringComparison.OrdinalIgnoreCase)
                    && !name.Equals(VersionHeader, StringComparison.OrdinalIgnoreCase))
                {
                    made.SetAttributeFromString(
                        name[Prefix.Length..].ToLowerInvariant(),
                        HttpUtilities.DecodeHeaderValue(HttpTarget.Header(request, name) ?? ""));
                }
            }

            return ToRecord(made, body, made.DataContentType);
        });
    }

    /// <summary>One event in JSON.</summary>
    /// <exception cref="HttpRefusal">It is none, and why.</exception>
    public static Record FromStructured(ReadOnlyMemory<byte> body, string contentType) => Checked(() => ToRecord(
        Json.DecodeStructuredModeMessage(body, new ContentType(contentType), extensionAttributes: null)));

    /// <summary>Several, which are stored together.</summary>
    /// <exception cref="HttpRefusal">One of them is none, and why.</exception>
    public static IEnumerable<Record> FromBatch(ReadOnlyMemory<byte> body, string contentType) => Checked(() =>
        Json.DecodeBatchModeMessage(body, new ContentType(contentType), extensionAttributes: null)
            .Select(static each => ToRecord(each)).ToList());

    public static bool IsEvent(Record record) => record.Headers.Any(static header => header.Name == VersionHeader);

    /// <summary>
    /// The record as an event in JSON. One that was not published as an event becomes one: its type is broker.record,
    /// its source the topic, its id where it is.
    /// </summary>
    public static void Write(Utf8JsonWriter json, Record record, in RecordPlace place)
    {
        json.WriteStartObject();
        if (!IsEvent(record))
        {
            json.WriteString("specversion", "1.0");
            json.WriteString("id", string.Create(
                CultureInfo.InvariantCulture, $"{place.TopicId}-{place.Partition}-{place.Offset}"));
            json.WriteString("source", "/topics/" + Uri.EscapeDataString(place.Topic));
            json.WriteString("type", "broker.record");
            json.WriteString("time", DateTimeOffset.FromUnixTimeMilliseconds(place.TimestampUnixMs).ToString(
                "yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture));
            if (!record.Key.IsEmpty && HttpJson.TryText(record.Key.Span, out var key))
            {
                json.WriteString("partitionkey", key);
            }
        }

        var written = new HashSet<string>(StringComparer.Ordinal);
        foreach (var header in record.Headers)
        {
            if (IsAttribute(header.Name) && HttpJson.TryText(header.Value.Span, out var text)
                && written.Add(header.Name))
            {
                json.WriteString(header.Name[Prefix.Length..], text);
            }
        }

        WriteData(json, record, ContentTypeOf(record));
        json.WriteEndObject();
    }

    public static string? ContentTypeOf(Record record) =>
        record.Headers.FirstOrDefault(static header => header.Name == ContentTypeHeader)?.Value.ToStringUtf8();

    /// <summary>The attributes as headers of an answer.</summary>
    public static void SetHeaders(HttpResponse response, Record record)
    {
        foreach (var header in record.Headers)
        {
            if (IsAttribute(header.Name) && HttpJson.TryText(header.Value.Span, out var text))
            {
                response.Headers[header.Name] = HttpUtilities.EncodeHeaderValue(text);
            }
        }
    }

    /// <summary>Attributes have names of lower-case letters and digits; data are none.</summary>
    private static bool IsAttribute(string header) => header.StartsWith(Prefix, StringComparison.Ordinal)
        && header.Length > Prefix.Length && header is not "ce-data" and not "ce-datacontenttype"
        && header.AsSpan(Prefix.Length).IndexOfAnyExcept(AttributeLetters) < 0;

    private static void WriteData(Utf8JsonWriter json, Record record, string? contentType)
    {
        if (contentType is not null)
        {
            json.WriteString("datacontenttype", contentType);
        }

        var value = record.Value.Span;
        if (value.IsEmpty)
        {
            return;
        }

        if (HttpJson.IsJson(contentType) && IsJson(record.Value.Memory))
        {
            json.WritePropertyName("data");
            json.WriteRawValue(value, skipInputValidation: true);
        }
        else if (contentType?.StartsWith("text/", StringComparison.OrdinalIgnoreCase) == true
            && System.Text.Unicode.Utf8.IsValid(value))
        {
            json.WriteString("data", value);
        }
        else
        {
            json.WriteBase64String("data_base64", value);
        }
    }

    private static bool IsJson(ReadOnlyMemory<byte> value)
    {
        try
        {
            using var read = JsonDocument.Parse(new ReadOnlySequence<byte>(value));
            return true;
        }
        catch (JsonException)
        {
            return false;
        }
    }

    /// <summary>In JSON data are JSON where the event does not say what they are.</summary>
    private static Record ToRecord(CloudEvent made)
    {
        var data = Json.EncodeBinaryModeEventData(made);
        return ToRecord(made, data, made.DataContentType ?? (data.IsEmpty ? null : HttpJson.ContentType));
    }

    private static Record ToRecord(CloudEvent made, ReadOnlyMemory<byte> data, string? contentType)
    {
        _ = made.Validate();
        var record = new Record { Value = UnsafeByteOperations.UnsafeWrap(data) };
        record.Headers.Add(HeaderOf(VersionHeader, made.SpecVersion.VersionId));
        if (contentType is not null)
        {
            record.Headers.Add(HeaderOf(ContentTypeHeader, contentType));
        }

        foreach (var (attribute, value) in made.GetPopulatedAttributes())
        {
            if (attribute != made.SpecVersion.DataContentTypeAttribute)
            {
                record.Headers.Add(HeaderOf(Prefix + attribute.Name, attribute.Format(value)));
            }

            if (attribute.Name == "partitionkey")
            {
                record.Key = ByteString.CopyFromUtf8(attribute.Format(value));
            }
        }

        return record;
    }

    private static Header HeaderOf(string name, string value) =>
        new() { Name = name, Value = ByteString.CopyFrom(value, Encoding.UTF8) };

    private static T Checked<T>(Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception problem) when (problem is ArgumentException or InvalidOperationException or JsonException
            or FormatException)
        {
            var why = problem.Message.Split(" (Parameter")[0].TrimEnd('.');
            throw HttpRefusal.Invalid(
                $"The request is not a CloudEvent as CloudEvents 1.0 has it: {why}. Nothing was stored.");
        }
    }
}

/// <summary>Where a record is.</summary>
internal readonly record struct RecordPlace(
    string Topic, ulong TopicId, uint Partition, long Offset, long TimestampUnixMs);
