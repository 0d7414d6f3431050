using System.Text.Json.Nodes;
using Google.Protobuf.Reflection;
using Microsoft.OpenApi;
using V1 = Broker.Protocol.V1;

namespace Broker.Api;

/// <summary>
/// The forms of bodies, as OpenAPI describes them: the contract's messages, as <see cref="HttpJson"/> has them.
/// </summary>
internal static class HttpSchemas
{
    public const string ProblemName = "Problem";

    private const string RecordName = "Record";
    private const string StoredRecordName = "StoredRecord";

    public static string DescriptionOf(string name) => ContractWords.Of(
        name.StartsWith("broker.v1.", StringComparison.Ordinal) ? name["broker.v1.".Length..] : name);

    /// <summary>A message.</summary>
    public static IOpenApiSchema Of(OpenApiDocument document, MessageDescriptor message) =>
        message == V1.Record.Descriptor
            ? Record(document)
            : Named(document, message.Name, () => Form(document, message, []));

    /// <summary>A message without the fields whose values stand in the address.</summary>
    public static IOpenApiSchema BodyOf(
        OpenApiDocument document,
        MessageDescriptor message,
        IReadOnlyCollection<(FieldDescriptor? Field, int Place)> inAddress) =>
        Form(document, message, [.. inAddress.Select(static each => each.Field).OfType<FieldDescriptor>()]);

    public static JsonSchemaType TypeOf(FieldDescriptor field) => field.FieldType switch
    {
        FieldType.Bool => JsonSchemaType.Boolean,
        FieldType.Message when field.MessageType.Name == "BoolValue" => JsonSchemaType.Boolean,
        FieldType.Int32 or FieldType.UInt32 or FieldType.Int64 or FieldType.UInt64 => HttpJson.IsId(field)
            ? JsonSchemaType.String
            : JsonSchemaType.Integer,
        FieldType.Message when IsWrapper(field) => JsonSchemaType.Integer,
        _ => JsonSchemaType.String,
    };

    /// <summary>A record to be stored.</summary>
    public static IOpenApiSchema Record(OpenApiDocument document) => Named(document, RecordName, () => Object(
        "A record. Key, value and headers' values are text, or, where they are no UTF-8, base64 in the field of the "
        + "name with _base64.",
        RecordFields(document)));

    /// <summary>A record with its place.</summary>
    public static IOpenApiSchema StoredRecord(OpenApiDocument document) => Named(document, StoredRecordName, () =>
    {
        var fields = new Dictionary<string, IOpenApiSchema>
        {
            ["topic"] = Text("Where it is stored. In streams alone."),
            ["topic_id"] = Text(DescriptionOf("PublishResponse.topic_id") + " In streams alone."),
            ["partition"] = Number("From 0."),
            ["offset"] = Number("Its offset in the partition."),
            ["timestamp_unix_ms"] = Number(DescriptionOf("StoredBatch.timestamp_unix_ms")),
        };
        foreach (var (name, field) in RecordFields(document))
        {
            fields.Add(name, field);
        }

        return Object("A record where it is stored.", fields);
    });

    /// <summary>What a publish is answered.</summary>
    public static IOpenApiSchema Published(OpenApiDocument document) => Named(document, "Published", () => Object(
        "Where the records are stored: on the disks of a majority of the replicas.",
        new()
        {
            ["topic"] = Text("The topic."),
            ["topic_id"] = Text(DescriptionOf("PublishResponse.topic_id")),
            ["partition"] = Number(DescriptionOf("PublishResponse.partition")),
            ["offset"] = Number(
                "Offset of the first record; the others follow. Absent: a repetition that is older than the broker's "
                + "memory of offsets, or records of several partitions (see parts)."),
            ["count"] = Number("Number of records."),
            ["duplicate"] = new OpenApiSchema
            {
                Type = JsonSchemaType.Boolean,
                Description = "They were stored before, by this Idempotency-Key or producer stamp.",
            },
            ["timestamp_unix_ms"] = Number(DescriptionOf("PublishResponse.timestamp_unix_ms")),
            ["partitions"] = Number(DescriptionOf("PublishResponse.partitions")),
            ["parts"] = List(
                Of(document, V1.PublishedPart.Descriptor), "Of records whose keys belong to several partitions."),
        }));

    /// <summary>Several records to be stored together.</summary>
    public static IOpenApiSchema Batch(OpenApiDocument document) => Named(document, "RecordsToPublish", () => Object(
        "Records of one topic, which are stored together.",
        new()
        {
            ["records"] = List(Record(document), "1 to 65,536, in the order in which they get their offsets."),
            ["partition"] = Number(DescriptionOf("PublishRequest.partition")),
            ["expected_offset"] = Number(DescriptionOf("PublishRequest.expected_offset")),
            ["producer"] = Of(document, V1.ProducerStamp.Descriptor),
        },
        "records"));

    /// <summary>An answer to a read.</summary>
    public static IOpenApiSchema ReadAnswer(OpenApiDocument document) => Named(document, "RecordsRead", () => Object(
        "Records of one partition, in offset order.",
        new()
        {
            ["topic"] = Text("The topic."),
            ["topic_id"] = Text(DescriptionOf("PublishResponse.topic_id") + " Absent: there is no such topic yet."),
            ["partition"] = Number("The partition."),
            ["next_offset"] = Number("Where to go on: the first offset that was not read yet."),
            ["end_offset"] = Number("The offset that the next record of the partition gets."),
            ["records"] = List(StoredRecord(document), "Empty: there was none, also after the wait."),
        }));

    /// <summary>A CloudEvent in JSON (CloudEvents 1.0, JSON event format).</summary>
    public static IOpenApiSchema CloudEvent(OpenApiDocument document) => Named(document, "CloudEvent", () => Object(
        "A CloudEvent 1.0. Extension attributes stand beside these.",
        new()
        {
            ["specversion"] = Text("1.0"),
            ["id"] = Text("Names the event among those of its source."),
            ["source"] = Text("Where it happened: a URI reference."),
            ["type"] = Text("What happened."),
            ["subject"] = Text("To what it happened."),
            ["time"] = Text("When: RFC 3339."),
            ["datacontenttype"] = Text("What data is. Absent: JSON."),
            ["dataschema"] = Text("A URI."),
            ["data"] = new OpenApiSchema { Description = "The event's data: JSON, or text." },
            ["data_base64"] = Text("The event's data, where it is neither."),
        },
        "specversion", "id", "source", "type"));

    public static IOpenApiSchema List(IOpenApiSchema items, string description = "") =>
        new OpenApiSchema { Type = JsonSchemaType.Array, Items = items, Description = description };

    public static IOpenApiSchema Bytes(OpenApiDocument _) =>
        new OpenApiSchema { Type = JsonSchemaType.String, Format = "binary" };

    /// <summary>RFC 9457.</summary>
    public static IOpenApiSchema Problem(OpenApiDocument document) => Named(document, ProblemName, static () => Object(
        "Why a request was refused (RFC 9457).",
        new()
        {
            ["title"] = Text("The status in words."),
            ["status"] = Number("The status."),
            ["detail"] = Text("What was wrong, and what to do."),
            ["reason"] = Text("One of the contract's Reason, without REASON_."),
            ["code"] = Text("The same as a code of google.rpc, as gRPC has it."),
            ["retry_after_ms"] = Number("When to come back, where that is known; also in the header Retry-After."),
            ["leader"] = Text("Address of the broker that knows better, where that is known."),
            ["lost"] = Text("Of records that are not the consumer's any more: which."),
        }));

    private static Dictionary<string, IOpenApiSchema> RecordFields(OpenApiDocument document) => new()
    {
        ["key"] = Text(DescriptionOf("Record.key")),
        ["key_base64"] = Text("Instead of key."),
        ["value"] = new OpenApiSchema
        {
            Description = "The payload as text. When publishing, what is no string is stored as its JSON text.",
        },
        ["value_base64"] = Text("Instead of value."),
        ["headers"] = List(
            Object("", new()
            {
                ["name"] = Text("UTF-8. Names may repeat."),
                ["value"] = Text("As text."),
                ["value_base64"] = Text("Instead of value."),
            }),
            DescriptionOf("Record.headers")),
        ["ttl_ms"] = Number(DescriptionOf("Record.ttl_ms")),
        ["deliver_at_unix_ms"] = Number(DescriptionOf("Record.deliver_at_unix_ms")),
        ["priority"] = Number(DescriptionOf("Record.priority")),
    };

    private static OpenApiSchema Form(
        OpenApiDocument document, MessageDescriptor message, FieldDescriptor[] without) => Object(
            DescriptionOf(message.Name),
            message.Fields.InDeclarationOrder().Where(field => !without.Contains(field)).ToDictionary(
                static field => HttpJson.NameOf(field), field => OfField(document, field)));

    private static IOpenApiSchema OfField(OpenApiDocument document, FieldDescriptor field)
    {
        var words = DescriptionOf(field.FullName);
        if (HttpJson.IsBatch(field))
        {
            return List(Record(document), words);
        }

        IOpenApiSchema one = field.FieldType switch
        {
            FieldType.Message when !IsWrapper(field) => Of(document, field.MessageType),
            FieldType.Enum => new OpenApiSchema
            {
                Type = JsonSchemaType.String,
                Enum = [.. field.EnumType.Values.Select(static value => (JsonNode)value.Name)],
                Description = words,
            },
            FieldType.Bytes =>
                new OpenApiSchema { Type = JsonSchemaType.String, Format = "byte", Description = words },
            _ => new OpenApiSchema { Type = TypeOf(field), Description = words },
        };
        return field.IsRepeated ? List(one, words) : one;
    }

    private static bool IsWrapper(FieldDescriptor field) => field.FieldType == FieldType.Message
        && field.MessageType.File.Package == "google.protobuf";

    private static OpenApiSchemaReference Named(OpenApiDocument document, string name, Func<OpenApiSchema> make)
    {
        document.Components ??= new OpenApiComponents();
        document.Components.Schemas ??= new Dictionary<string, IOpenApiSchema>();
        if (!document.Components.Schemas.ContainsKey(name))
        {
            document.AddComponent<IOpenApiSchema>(name, new OpenApiSchema()); // one that holds itself ends here
            document.Components.Schemas[name] = make();
        }

        return new OpenApiSchemaReference(name, document);
    }

    private static OpenApiSchema Object(
        string description, Dictionary<string, IOpenApiSchema> fields, params string[] required) => new()
        {
            Type = JsonSchemaType.Object,
            Description = description,
            Properties = fields,
            Required = required.ToHashSet(StringComparer.Ordinal),
        };

    private static OpenApiSchema Text(string description) =>
        new() { Type = JsonSchemaType.String, Description = description };

    private static OpenApiSchema Number(string description) =>
        new() { Type = JsonSchemaType.Integer, Description = description };
}
