using System.Text.Json;
using Broker.Domain;
using Broker.Protocol.V1;
using Google.Protobuf;

namespace Broker.Api;

/// <summary>
/// The body of records:batch. Example: {"records":[{"key":"42","value":"hello"},{"value":{"total":9.9}}],
/// "expected_offset":0}. A field that nobody knows is refused, never ignored.
/// </summary>
internal static class RecordReading
{
    /// <exception cref="HttpRefusal">What is wrong, and where.</exception>
    public static PublishRequest ReadBatch(ReadOnlyMemory<byte> body)
    {
        try
        {
            using var document = JsonDocument.Parse(body);
            return ReadRequest(document.RootElement);
        }
        catch (JsonException problem)
        {
            throw HttpRefusal.Invalid($"The request's body is not JSON: {problem.Message}");
        }
    }

    private static PublishRequest ReadRequest(JsonElement root)
    {
        var request = new PublishRequest { Batch = new RecordBatch() };
        foreach (var field in Fields(root, "The body"))
        {
            switch (field.Name)
            {
                case "records":
                    request.Batch.Records.AddRange(Items(field, "records").Select(
                        static (each, at) => ReadRecord(each, $"records[{at}]")));
                    break;
                case "partition":
                    request.Partition = (uint)Number(field, field.Name, uint.MaxValue);
                    break;
                case "expected_offset":
                    request.ExpectedOffset = (long)Number(field, field.Name, long.MaxValue);
                    break;
                case "producer":
                    request.Producer = ReadStamp(field.Value);
                    break;
                default:
                    throw Unknown("The body", field, "records, partition, expected_offset, producer");
            }
        }

        return request;
    }

    private static ProducerStamp ReadStamp(JsonElement value)
    {
        var stamp = new ProducerStamp();
        foreach (var field in Fields(value, "producer"))
        {
            var where = $"producer.{field.Name}";
            switch (field.Name)
            {
                case "id":
                    stamp.Id = Number(field, where, ulong.MaxValue);
                    break;
                case "epoch":
                    stamp.Epoch = (uint)Number(field, where, uint.MaxValue);
                    break;
                case "sequence":
                    stamp.Sequence = Number(field, where, ulong.MaxValue);
                    break;
                default:
                    throw Unknown("producer", field, "id, epoch, sequence");
            }
        }

        return stamp;
    }

    private static Record ReadRecord(JsonElement value, string where)
    {
        var record = new Record();
        var isJson = false;
        foreach (var field in Fields(value, where))
        {
            var name = $"{where}.{field.Name}";
            switch (field.Name)
            {
                case "key" or "key_base64":
                    record.Key = Bytes(field, name, record.Key);
                    break;
                case "value" when field.Value.ValueKind is not JsonValueKind.String:
                    record.Value = ByteString.CopyFromUtf8(field.Value.GetRawText());
                    isJson = true;
                    break;
                case "value" or "value_base64":
                    record.Value = Bytes(field, name, record.Value);
                    break;
                case "headers":
                    record.Headers.AddRange(Items(field, name).Select(
                        (each, at) => ReadHeader(each, $"{name}[{at}]")));
                    break;
                case "ttl_ms":
                    record.TtlMs = Number(field, name, ulong.MaxValue);
                    break;
                case "deliver_at_unix_ms":
                    record.DeliverAtUnixMs = (long)Number(field, name, long.MaxValue);
                    break;
                case "priority":
                    record.Priority = (uint)Number(field, name, uint.MaxValue);
                    break;
                default:
                    throw Unknown(where, field, "key, value, headers, ttl_ms, deliver_at_unix_ms, priority");
            }
        }

        if (isJson && CloudEventRecords.ContentTypeOf(record) is null)
        {
            record.Headers.Add(new Header
            {
                Name = CloudEventRecords.ContentTypeHeader,
                Value = ByteString.CopyFromUtf8(HttpJson.ContentType),
            });
        }

        return record;
    }

    private static Header ReadHeader(JsonElement value, string where)
    {
        var header = new Header();
        foreach (var field in Fields(value, where))
        {
            var name = $"{where}.{field.Name}";
            switch (field.Name)
            {
                case "name" when field.Value.ValueKind is JsonValueKind.String:
                    header.Name = field.Value.GetString();
                    break;
                case "value" or "value_base64":
                    header.Value = Bytes(field, name, header.Value);
                    break;
                default:
                    throw Unknown(where, field, "name and value, both texts");
            }
        }

        return header;
    }

    private static ByteString Bytes(JsonProperty field, string where, ByteString before)
    {
        if (!before.IsEmpty)
        {
            throw HttpRefusal.Invalid($"{where} comes beside the same in its other form; send one of them.");
        }

        if (field.Value.ValueKind != JsonValueKind.String)
        {
            throw HttpRefusal.Invalid($"{where} is no text; write it in quotation marks.");
        }

        if (!field.Name.EndsWith("_base64", StringComparison.Ordinal))
        {
            return ByteString.CopyFromUtf8(field.Value.GetString());
        }

        return field.Value.TryGetBytesFromBase64(out var bytes)
            ? UnsafeByteOperations.UnsafeWrap(bytes)
            : throw HttpRefusal.Invalid($"{where} is no base64.");
    }

    /// <summary>As a number, or as the text of one, since JavaScript rounds large ones.</summary>
    private static ulong Number(JsonProperty field, string where, ulong most)
    {
        var text = field.Value.ValueKind switch
        {
            JsonValueKind.Number => field.Value.GetRawText(),
            JsonValueKind.String => field.Value.GetString(),
            _ => "",
        };
        return ulong.TryParse(
            text,
            System.Globalization.NumberStyles.None,
            System.Globalization.CultureInfo.InvariantCulture,
            out var number) && number <= most
            ? number
            : throw HttpRefusal.Invalid(
                $"{where} is {field.Value.GetRawText()}; expected a whole number up to {most}.");
    }

    private static JsonElement.ObjectEnumerator Fields(JsonElement value, string where) =>
        value.ValueKind == JsonValueKind.Object
            ? value.EnumerateObject()
            : throw HttpRefusal.Invalid($"{where} is no JSON object.");

    private static JsonElement.ArrayEnumerator Items(JsonProperty field, string where)
    {
        if (field.Value.ValueKind != JsonValueKind.Array)
        {
            throw HttpRefusal.Invalid($"{where} is no JSON array.");
        }

        return field.Value.GetArrayLength() <= Limits.RecordsPerBatch
            ? field.Value.EnumerateArray()
            : throw HttpRefusal.Invalid(
                $"{where} has {field.Value.GetArrayLength():N0} items; the limit is {Limits.RecordsPerBatch:N0}.");
    }

    private static HttpRefusal Unknown(string where, JsonProperty field, string expected) => HttpRefusal.Invalid(
        $"{where} has '{field.Name}', which is not known there or has another form; expected {expected}.");
}
