using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Broker.Domain;
using Broker.Protocol.V1;
using Google.Protobuf;
using Microsoft.OpenApi;
using Wire = Broker.Protocol.Wire;

namespace Broker.Api;

/// <summary>
/// Publishing by HTTP: one record as the body is, several as JSON, and CloudEvents in each of their modes. All of it
/// comes to the contract's Publish.
/// </summary>
internal sealed class PublishRoutes(BrokerService broker, HttpBodies bodies, TimeProvider time)
{
    private const string One = "/v1/topics/{topic}/records";
    private const string Many = "/v1/topics/{topic}/records:batch";
    private const string KeyHeader = "X-Key";
    private const string HeaderPrefix = "X-Header-";
    private const string OnceHeader = "Idempotency-Key";

    /// <summary>What curl says when nobody has said anything.</summary>
    private const string SaysNothing = "application/x-www-form-urlencoded";

    private static readonly string[] ForAll = ["partition", "expected_offset"];
    private static readonly string[] ForEach = ["key", "ttl_ms", "deliver_at", "delay_ms", "priority"];

    public IEnumerable<HttpOperation> All() =>
    [
        new HttpOperation
        {
            Method = "POST",
            Pattern = One,
            Id = "Publish",
            Tag = "records",
            Summary = "Publish a record, or CloudEvents",
            Description = "The body is the record's value, whatever it is, and its Content-Type becomes the record's "
                + "header content-type (but for application/x-www-form-urlencoded, which curl says by itself). With "
                + "headers ce-* it is a CloudEvent in binary mode; as application/cloudevents+json one in structured "
                + "mode; as application/cloudevents-batch+json several, which are stored together. Answered when it is "
                + "on the disks of a majority of the replicas. " + HttpSchemas.DescriptionOf("Publish"),
            Parameters = [.. OnceParameters, .. EachParameters, .. AllParameters],
            Bodies =
            [
                new("application/octet-stream", HttpSchemas.Bytes),
                new(CloudEventRecords.StructuredType, HttpSchemas.CloudEvent),
                new(CloudEventRecords.BatchType, document => HttpSchemas.List(HttpSchemas.CloudEvent(document))),
            ],
            Answers = [new(HttpJson.ContentType, HttpSchemas.Published)],
            ServeAsync = PublishAsync,
        },
        new HttpOperation
        {
            Method = "POST",
            Pattern = Many,
            Id = "PublishBatch",
            Tag = "records",
            Summary = "Publish several records together",
            Description = "Records of one topic, which get offsets one after the other. "
                + HttpSchemas.DescriptionOf("Publish"),
            Parameters = OnceParameters,
            Bodies = [new(HttpJson.ContentType, HttpSchemas.Batch)],
            Answers = [new(HttpJson.ContentType, HttpSchemas.Published)],
            ServeAsync = PublishBatchAsync,
        },
    ];

    private static HttpParameter[] OnceParameters =>
    [
        new(
            OnceHeader,
            "Makes sending again safe: of records under one key, up to 255 characters, those that come first are "
            + "stored, and the others are answered as they were. A topic (partition) remembers keys for a day, "
            + "100,000 of them.",
            InHeader: true),
    ];

    private static HttpParameter[] AllParameters =>
    [
        new("partition", ContractWords.Of("PublishRequest.partition"), JsonSchemaType.Integer),
        new("expected_offset", ContractWords.Of("PublishRequest.expected_offset"), JsonSchemaType.Integer),
    ];

    private static HttpParameter[] EachParameters =>
    [
        new(KeyHeader, "The record's key, as UTF-8 text; or the query parameter key.", InHeader: true),
        new(
            "X-Header-{name}",
            "A header of the record, as UTF-8 text; may repeat. Names are in small letters then.",
            InHeader: true),
        new("key", "The record's key, as UTF-8 text; or the header X-Key."),
        new("ttl_ms", ContractWords.Of("Record.ttl_ms"), JsonSchemaType.Integer),
        new("deliver_at", "As a time (RFC 3339) or in milliseconds. " + ContractWords.Of("Record.deliver_at_unix_ms")),
        new("delay_ms", "Instead of deliver_at: so many milliseconds from now.", JsonSchemaType.Integer),
        new("priority", ContractWords.Of("Record.priority"), JsonSchemaType.Integer),
    ];

    private async Task PublishAsync(HttpContext http)
    {
        var topic = HttpTarget.NameAt(http.Request, One, 2);
        var query = ServiceDefaults.Http.RequestTarget.Query(http.Request, [.. ForAll, .. ForEach]);
        var type = http.Request.ContentType;
        var mode = HttpJson.MediaTypeOf(type).ToLowerInvariant();
        if (mode.StartsWith("application/cloudevents", StringComparison.Ordinal)
            && mode is not (CloudEventRecords.StructuredType or CloudEventRecords.BatchType))
        {
            throw HttpRefusal.WrongType(
                type, $"{CloudEventRecords.StructuredType} or {CloudEventRecords.BatchType} for CloudEvents");
        }

        var isBatch = mode == CloudEventRecords.BatchType;
        var isEvent = isBatch || mode == CloudEventRecords.StructuredType;
        var body = await bodies.ReadAsync(
            http,
            isBatch ? Limits.HttpJsonBytes : isEvent ? 2 * Limits.RecordBytes : Limits.RecordBytes,
            isEvent ? "The request's body" : "The record's value");
        var request = new PublishRequest { Topic = topic, Batch = new RecordBatch() };
        request.Batch.Records.AddRange(isBatch
            ? CloudEventRecords.FromBatch(body, type!)
            : [isEvent
                ? CloudEventRecords.FromStructured(body, type!)
                : CloudEventRecords.IsBinary(http.Request)
                    ? CloudEventRecords.FromBinary(http.Request, body)
                    : new Record { Value = UnsafeByteOperations.UnsafeWrap(body) }]);
        if (!isEvent && type is not null && mode != SaysNothing && !CloudEventRecords.IsEvent(request.Batch.Records[0]))
        {
            request.Batch.Records[0].Headers.Add(HeaderOf(CloudEventRecords.ContentTypeHeader, type));
        }

        foreach (var record in request.Batch.Records)
        {
            SetEach(http.Request, query, record);
        }

        request.Partition = query.Text("partition") is null
            ? null
            : (uint)query.Number("partition", 0, 0, uint.MaxValue);
        request.ExpectedOffset = query.Text("expected_offset") is null
            ? null
            : query.Number("expected_offset", 0, 0, long.MaxValue);
        await StoreAsync(http, request);
    }

    private async Task PublishBatchAsync(HttpContext http)
    {
        var topic = HttpTarget.NameAt(http.Request, Many, 2);
        _ = ServiceDefaults.Http.RequestTarget.Query(http.Request);
        var request = RecordReading.ReadBatch(await bodies.ReadJsonAsync(http));
        request.Topic = topic;
        await StoreAsync(http, request);
    }

    private async Task StoreAsync(HttpContext http, PublishRequest request)
    {
        if (HttpTarget.Header(http.Request, OnceHeader) is { } once)
        {
            request.Producer = request.Producer is null
                ? StampOf(once)
                : throw HttpRefusal.Invalid($"The request has a {OnceHeader} and a producer; send one of them.");
        }

        var wire = Wire.PublishRequest.Parser.ParseFrom(request.ToByteString());
        var answer = await ContractCalls.AnswerAsync(http, context => broker.Publish(wire, context));
        http.Response.ContentType = HttpJson.ContentType;
        await using (var json = new Utf8JsonWriter(http.Response.BodyWriter, HttpJson.Writing))
        {
            Write(json, request.Topic, answer);
        }

        await http.Response.BodyWriter.FlushAsync(http.RequestAborted);
    }

    private static void Write(Utf8JsonWriter json, string topic, Wire.PublishResponse answer)
    {
        json.WriteStartObject();
        json.WriteString("topic", topic);
        json.WriteString("topic_id", $"{answer.TopicId}");
        json.WriteNumber("partition", answer.Partition);
        if (answer.BaseOffset >= 0)
        {
            json.WriteNumber("offset", answer.BaseOffset);
        }

        json.WriteNumber("count", answer.Count);
        json.WriteBoolean("duplicate", answer.Duplicate);
        json.WriteNumber("timestamp_unix_ms", answer.TimestampUnixMs);
        json.WriteNumber("partitions", answer.Partitions);
        if (answer.Parts.Count > 0)
        {
            json.WriteStartArray("parts");
            foreach (var part in answer.Parts)
            {
                HttpJson.Write(json, PublishedPart.Parser.ParseFrom(part.ToByteString()));
            }

            json.WriteEndArray();
        }

        json.WriteEndObject();
    }

    private void SetEach(HttpRequest request, ServiceDefaults.Http.RequestQuery query, Record record)
    {
        var key = HttpTarget.Header(request, KeyHeader);
        if (key is not null && query.Text("key") is not null)
        {
            throw HttpRefusal.Invalid($"The request has a key in the header {KeyHeader} and in the query; send one.");
        }

        if ((key ?? query.Text("key")) is { } text)
        {
            record.Key = ByteString.CopyFromUtf8(text);
        }

        foreach (var (name, values) in request.Headers)
        {
            if (name.Length > HeaderPrefix.Length && name.StartsWith(HeaderPrefix, StringComparison.OrdinalIgnoreCase))
            {
                // HTTP's names know no case: one that came by HTTP/1.1 and by HTTP/2 is the same.
                record.Headers.Add(values.Select(
                    value => HeaderOf(name[HeaderPrefix.Length..].ToLowerInvariant(), value ?? "")));
            }
        }

        if (query.Text("ttl_ms") is not null)
        {
            record.TtlMs = (ulong)query.Number("ttl_ms", 0, 0, long.MaxValue);
        }

        if (query.Text("priority") is not null)
        {
            record.Priority = (uint)query.Number("priority", 0, 0, uint.MaxValue);
        }

        record.DeliverAtUnixMs = query.DueUnixMs(time);
    }

    /// <summary>
    /// A producer of its own for each key, which publishes once. Both numbers are of the key's hash: two keys that have
    /// the first in common, which among 100,000 keys has odds of one in four billion, differ in the second, and the
    /// later one is refused as out of sequence, never taken for the other's repetition.
    /// </summary>
    private static ProducerStamp StampOf(string key)
    {
        if (key.Length is 0 or > Limits.IdempotencyKeyChars)
        {
            throw HttpRefusal.Invalid(
                $"The header {OnceHeader} has {key.Length} characters; expected 1 to {Limits.IdempotencyKeyChars}.");
        }

        var hash = SHA256.HashData(Encoding.UTF8.GetBytes(key));
        return new ProducerStamp
        {
            Id = Math.Max(1, BitConverter.ToUInt64(hash)),

            // A batch counts on from here, and must not come to the end of 64 bits.
            Sequence = BitConverter.ToUInt64(hash, sizeof(ulong)) >> 2,
        };
    }

    private static Header HeaderOf(string name, string value) =>
        new() { Name = name, Value = ByteString.CopyFromUtf8(value) };
}
